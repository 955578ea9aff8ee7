"""Why a vendor refuses, read from what it says: its codes first, then its wording. None of it is passed on."""

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

#: How deep an error is read, and how many of its values.
MOST_DEPTH = 8
MOST_VALUES = 200

#: How much of each text is read: what comes later is usually a quotation of the request.
MOST_TEXT = 1500

CODE_FIELDS = frozenset(
    {"code", "type", "status", "reason", "error_type", "error_code", "__type", "quotaid", "finish_reason"}
)
TEXT_FIELDS = frozenset(
    {"message", "msg", "error", "detail", "details", "errors", "description", "status_msg", "raw", "innererror"}
)


class Said(msgspec.Struct):
    """An error, taken apart: short codes, texts, the field it names, and what the vendor counted."""

    codes: list[str] = []
    texts: list[str] = []
    param: str | None = None
    status: int | None = None
    retry_in: str | None = None
    counts: dict[str, int] = {}

    @property
    def words(self) -> str:
        """Codes and texts, as one line."""
        codes = ", ".join(dict.fromkeys(code for code in self.codes if code))
        texts = " ".join(dict.fromkeys(text for text in self.texts if text))
        return f"[{codes}] {texts}" if codes and texts else codes or texts

    @property
    def all(self) -> str:
        """The same in lower case, cut to what is looked at."""
        return " ".join([*self.codes, *(text[:MOST_TEXT] for text in self.texts)]).lower()


def taken_apart(value: Any) -> Said:
    """An error of any vendor: an object, a list, a text, or the bytes of one."""
    said = Said([], [])
    if isinstance(value, bytes | bytearray):
        text = bytes(value).decode("utf-8", "replace")
        try:
            value = msgspec.json.decode(value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            value = text
    for at, (name, found) in enumerate(walked("error", value, 0)):
        if at >= MOST_VALUES:
            break
        note(said, name, found)
    return said


def walked(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Every text and number in an error, with the name of its field; the request that some quote is left out."""
    if depth > MOST_DEPTH:
        return
    if isinstance(value, dict):
        for inner, held in value.items():
            if inner not in ("input", "ctx", "body", "request", "request_id"):
                yield from walked(str(inner).lower(), held, depth + 1)
    elif isinstance(value, list):
        if name == "loc":  # FastAPI names the field by its path
            yield "param", ".".join(str(part) for part in value if part != "body")
            return
        for held in value:
            yield from walked(name, held, depth + 1)
    elif isinstance(value, str) and value.lstrip()[:1] in ("{", "[") and depth:
        # OpenRouter, Copilot and others quote the answer of the vendor behind them as a text.
        try:
            inner_value = msgspec.json.decode(value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            yield name, value
        else:
            yield from walked(name, inner_value, depth + 1)
    elif isinstance(value, str | int | float):
        yield name, value


def note(said: Said, name: str, value: str | int | float) -> None:
    """One value of an error."""
    if isinstance(value, bool) or value == "":
        return
    if isinstance(value, int | float):
        if name in ("code", "status", "status_code") and 400 <= value < 600 and said.status is None:
            said.status = int(value)
        elif name in ("n_prompt_tokens", "n_ctx"):  # llama.cpp
            said.counts[name] = int(value)
    elif name == "param":
        said.param = said.param or value
    elif name == "retrydelay":
        said.retry_in = value
    elif name in CODE_FIELDS and len(value) <= 200:
        if value.isascii() and value.isdigit() and 400 <= int(value[:4]) < 600 and said.status is None:
            said.status = int(value[:4])
        said.codes.append(value)
    elif name in TEXT_FIELDS or name in CODE_FIELDS:
        said.texts.append(value)


#: What is asked in this order. A text may fit several: whose account is meant outweighs what the request holds.
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


def reason_of(status: int, said: Said) -> Reason | None:
    """Why a vendor refused with `status`; None where neither its words nor the status say."""
    words = said.all
    if status >= 500:
        # A vendor's own failure, whatever it says; but some servers answer 500 to a request that is too long.
        if CONTEXT.search(words) and said.codes + said.texts and status not in (503, 529):
            return "context"
        return "busy" if status in (503, 529) else None
    if status == 429:
        if QUOTA.search(words) and not is_minutely(said, words):
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
        # Nothing else of a request is looked up there, but files and earlier answers that some name.
        if "no endpoints found that" in words:
            return "parameter"
        return None if OTHER_THINGS.search(words) else "model"
    for reason, pattern in REQUEST:
        if pattern.search(words):
            return reason
    return None


def is_minutely(said: Said, words: str) -> bool:
    """Whether a vendor that speaks of a quota means that of a minute: Google says "check your plan" to both."""
    if "resource_exhausted" not in words:
        return False
    return "perday" not in words and (said.retry_in is not None or "perminute" in words)


MOST_TOKENS = 10**8


def token_figures(said: Said) -> dict[str, int]:
    """What a vendor has counted in a request that is too long; contradictory figures are left out."""
    words = re.sub(r"(?<=\d),(?=\d{3})", "", said.all)
    limit = number_in(LIMITS, words) or said.counts.get("n_ctx")
    inputs = number_in(INPUTS, words) or said.counts.get("n_prompt_tokens")
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
    """The number found by the first pattern that matches."""
    found = next((found for pattern in patterns if (found := re.search(pattern, words))), None)
    return None if found is None else int(found[1][:12])


def wait_in(said: Said) -> float | None:
    """In how many seconds it may be asked again, by its body: Google's `retryDelay`, "try again in 6.5s"."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)s", said.retry_in or "")
    if found:
        return float(found[1])
    told = WAIT.search(said.all)
    if told is None or not any(told.groups()):
        return None
    hours, minutes, rest, unit = told.groups()
    seconds = float(rest or 0) / (1000 if unit == "ms" else 1)
    return float(hours or 0) * 3600 + float(minutes or 0) * 60 + seconds
