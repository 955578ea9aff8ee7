"""Finds out why a vendor refused, from its codes and its wording. None of its text is passed on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from kaixu.plugin.refusal_wordings import (
    CONTENT,
    CONTEXT,
    CREDENTIAL,
    IMAGE,
    INPUTS,
    LIMITS,
    MODEL,
    OTHER_THINGS,
    OUTPUT,
    OUTPUTS,
    PARAMETER,
    QUOTA,
    RATE_SIZE,
    REGION,
    WAIT,
)

Reason = Literal[
    "context", "content", "parameter", "image", "model", "quota", "region", "credential", "busy", "rate_size"
]

#: How deep an error is read, and how many values.
MOST_DEPTH = 8
MOST_VALUES = 200

#: How much of each text is searched: later text is usually a quotation of the request.
MOST_TEXT = 1500

CODE_FIELDS = frozenset(
    {"code", "type", "status", "reason", "error_type", "error_code", "__type", "quotaid", "finish_reason"}
)
TEXT_FIELDS = frozenset(
    {"message", "msg", "error", "detail", "details", "errors", "description", "status_msg", "raw", "innererror"}
)


class VendorError(msgspec.Struct):
    """The parts of a vendor's error: codes, texts, the field it names, and the token counts."""

    codes: list[str] = []
    texts: list[str] = []
    param: str | None = None
    status: int | None = None
    retry_in: str | None = None
    counts: dict[str, int] = {}

    @property
    def words(self) -> str:
        """Codes and texts in one line."""
        codes = ", ".join(dict.fromkeys(code for code in self.codes if code))
        texts = " ".join(dict.fromkeys(text for text in self.texts if text))
        return f"[{codes}] {texts}" if codes and texts else codes or texts

    @property
    def all(self) -> str:
        """Codes and texts in lower case, each text cut to `MOST_TEXT` characters."""
        return " ".join([*self.codes, *(text[:MOST_TEXT] for text in self.texts)]).lower()


def parse_error(value: Any) -> VendorError:
    """Parse an error of any vendor: an object, a list, a text, or the bytes of one."""
    error = VendorError([], [])
    if isinstance(value, bytes | bytearray):
        text = bytes(value).decode("utf-8", "replace")
        try:
            value = msgspec.json.decode(value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            value = text
    for at, (name, found) in enumerate(values_in("error", value, 0)):
        if at >= MOST_VALUES:
            break
        note(error, name, found)
    return error


def values_in(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Every text and number in an error with the name of its field, without a quoted request."""
    if depth > MOST_DEPTH:
        return
    if isinstance(value, dict):
        for inner, held in value.items():
            if inner not in ("input", "ctx", "body", "request", "request_id"):
                yield from values_in(str(inner).lower(), held, depth + 1)
    elif isinstance(value, list):
        if name == "loc":  # FastAPI names the field by its path
            yield "param", ".".join(str(part) for part in value if part != "body")
            return
        for held in value:
            yield from values_in(name, held, depth + 1)
    elif isinstance(value, str) and value.lstrip()[:1] in ("{", "[") and depth:
        # OpenRouter, Copilot and others quote the response of the vendor behind them as text.
        try:
            inner_value = msgspec.json.decode(value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            yield name, value
        else:
            yield from values_in(name, inner_value, depth + 1)
    elif isinstance(value, str | int | float):
        yield name, value


def note(error: VendorError, name: str, value: str | int | float) -> None:
    """Add one value to `error`."""
    if isinstance(value, bool) or value == "":
        return
    if isinstance(value, int | float):
        if name in ("code", "status", "status_code") and 400 <= value < 600 and error.status is None:
            error.status = int(value)
        elif name in ("n_prompt_tokens", "n_ctx"):  # llama.cpp
            error.counts[name] = int(value)
    elif name == "param":
        error.param = error.param or value
    elif name == "retrydelay":
        error.retry_in = value
    elif name in CODE_FIELDS and len(value) <= 200:
        if value.isascii() and value.isdigit() and 400 <= int(value[:4]) < 600 and error.status is None:
            error.status = int(value[:4])
        error.codes.append(value)
    elif name in TEXT_FIELDS or name in CODE_FIELDS:
        error.texts.append(value)


#: Tested in this order. A text may match several: reasons of the account come before reasons of the request.
ORDER: tuple[tuple[Reason, re.Pattern[str]], ...] = (
    ("region", REGION),
    ("quota", QUOTA),
    ("credential", CREDENTIAL),
    ("content", CONTENT),
)
REQUEST: tuple[tuple[Reason, re.Pattern[str]], ...] = (
    ("rate_size", RATE_SIZE),
    ("image", IMAGE),
    ("context", CONTEXT),
    ("parameter", OUTPUT),
    ("model", MODEL),
    ("parameter", PARAMETER),
)


def reason_of(status: int, error: VendorError) -> Reason | None:
    """Why a vendor refused with `status`; None if neither its text nor the status says."""
    words = error.all
    if status >= 500:
        # The vendor failed, whatever it says; but some servers answer 500 to a request that is too long.
        if CONTEXT.search(words) and error.codes + error.texts and status not in (503, 529):
            return "context"
        return "busy" if status in (503, 529) else None
    if status == 429:
        if QUOTA.search(words) and not is_minutely(error, words):
            return "quota"
        return "rate_size" if RATE_SIZE.search(words) else "busy"
    for reason, pattern in ORDER:
        if pattern.search(words):
            return reason
    if status == 402:
        return "quota"
    if status in (401, 403):
        return "credential"
    if status in (404, 410):
        # Only a model, a file or an earlier answer can be missing.
        if "no endpoints found that" in words:
            return "parameter"
        return None if OTHER_THINGS.search(words) else "model"
    for reason, pattern in REQUEST:
        if pattern.search(words):
            return reason
    return None


def is_minutely(error: VendorError, words: str) -> bool:
    """Whether a quota error is about a limit per minute: Google says "check your plan" for both."""
    if "resource_exhausted" not in words:
        return False
    return "perday" not in words and (error.retry_in is not None or "perminute" in words)


MOST_TOKENS = 10**8


def token_figures(error: VendorError) -> dict[str, int]:
    """The vendor's token counts for a request that is too long, without contradictory ones."""
    words = re.sub(r"(?<=\d),(?=\d{3})", "", error.all)
    limit = number_in(LIMITS, words) or error.counts.get("n_ctx")
    inputs = number_in(INPUTS, words) or error.counts.get("n_prompt_tokens")
    output = number_in(OUTPUTS, words)
    if limit is None or not 0 < limit <= MOST_TOKENS:
        return {}
    if inputs is None or not 0 < inputs <= MOST_TOKENS:
        return {"limit_tokens": limit}
    if inputs > limit:
        return {"limit_tokens": limit, "input_tokens": inputs}
    if output is not None and 0 < output <= MOST_TOKENS and inputs + output > limit:
        return {"limit_tokens": limit, "input_tokens": inputs, "max_tokens": output}
    return {"limit_tokens": limit}


def number_in(patterns: Sequence[str], words: str) -> int | None:
    """The number that the first matching pattern finds."""
    found = next((found for pattern in patterns if (found := re.search(pattern, words))), None)
    return None if found is None else int(found[1][:12])


def wait_in(error: VendorError) -> float | None:
    """Seconds to wait, from the body: Google's `retryDelay`, "try again in 6.5s"."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)s", error.retry_in or "")
    if found:
        return float(found[1])
    wait = WAIT.search(error.all)
    if wait is None or not any(wait.groups()):
        return None
    hours, minutes, rest, unit = wait.groups()
    seconds = float(rest or 0) / (1000 if unit == "ms" else 1)
    return float(hours or 0) * 3600 + float(minutes or 0) * 60 + seconds
