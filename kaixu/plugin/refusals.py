"""What a vendor's refusal means, in our words; what the vendor wrote is kept for the operator only."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from kaixu.plugin.errors import (
    ContentRefused,
    ContextTooLong,
    ImageRefused,
    ModelGone,
    ParameterRefused,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
)
from kaixu.plugin.refusal_reasons import Reason, Said, reason_of, taken_apart, token_figures, wait_in
from kaixu.plugin.refusal_wordings import MODEL
from kaixu.plugin.vendor_words import fit_to_keep

REJECTED_STATUSES = frozenset({400, 404, 413, 415, 422})
RETRIED_STATUSES = frozenset({408, 409})  # and whatever is the vendor's own fault

#: The status that vendors mean by their codes, where an error comes without one.
STATUSES = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limited": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "throttlingexception": 429,
    "throttling_exception": 429,
    "toomanyrequests": 429,
    "overloaded_error": 529,
    "overloaded": 529,
    "engine_overloaded_error": 503,
    "unavailable": 503,
    "service_unavailable": 503,
    "serviceunavailableexception": 503,
    "server_overloaded": 503,
    "authentication_error": 401,
    "unauthenticated": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "validationexception": 400,
    "bad_request": 400,
    "badrequesterror": 400,
    "request_too_large": 413,
    "billing_error": 402,
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal": 500,
    "deadline_exceeded": 504,
    "timeout_error": 504,
}

#: Fields of requests, in our and in vendors' protocols: only these are named to a client.
FIELDS = frozenset(
    {
        *("temperature", "top_p", "top_k", "top_a", "min_p", "seed", "stop", "stop_sequences", "n", "logprobs"),
        *("top_logprobs", "logit_bias", "user", "tools", "tool_choice", "parallel_tool_calls", "functions"),
        *("function_call", "response_format", "reasoning", "reasoning_effort", "thinking", "max_tokens"),
        *("max_completion_tokens", "max_output_tokens", "presence_penalty", "frequency_penalty", "modalities"),
        *("repetition_penalty", "audio", "prediction", "metadata", "store", "service_tier", "stream"),
        *("stream_options", "verbosity", "system", "messages", "cache_control", "context_management"),
        *("output_config", "input", "dimensions", "encoding_format", "input_type", "images"),
    }
)

#: What a busy vendor that names no time is given. Clients multiply it by their own tries.
USUAL_WAIT_S = 2

#: The longest wait that is passed on: beyond a day a vendor's figure is a mistake, or no business of a client's.
MOST_WAIT_S = 86_400

#: RFC 9110 knows whole seconds; some vendors, and their own clients, know fractions too. ASCII digits only.
NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
LONG_NUMBER = re.compile(r"[0-9]{10,}(\.[0-9]*)?")


def refusal(status: int, retry_after_s: int | None, body: Any = b"", secrets: Iterable[str] = ()) -> UpstreamError:
    """A vendor's status that is not success, and what came with it: bytes, or an object that they were.

    What the vendor wrote is read, and kept for the operator without `secrets`; none of it is in the message.
    """
    said = taken_apart(body)
    reason = reason_of(status, said)
    if retry_after_s is None and reason == "busy" and (wait_s := wait_in(said)) is not None:
        retry_after_s = whole(wait_s)
    error = explained(status, reason, said, retry_after_s)
    error.upstream_status = status
    error.reason = reason
    error.vendor_words = fit_to_keep(said.words, secrets) or None
    return error


def error_in_answer(said: Any, status: int | None = None, secrets: Iterable[str] = ()) -> UpstreamError:
    """An error that a vendor tells inside an answer of status 200: in a stream's event, or in place of an answer.

    `said` is the vendor's error, as it was decoded. Without `status` it is what the error itself says, as
    OpenRouter's `code: 429` or Anthropic's `overloaded_error`.
    """
    parts = taken_apart(said)
    status = status or parts.status or status_of(parts.codes)
    reason = reason_of(status or 400, parts)
    if reason == "busy":
        waiting = wait_in(parts)
        error: UpstreamError = busy(status or 503, None if waiting is None else whole(waiting))
        error.message = "the vendor is over its own limit"
        error.args = (error.message,)
    elif reason is not None or status in REJECTED_STATUSES:
        error = explained(status or 400, reason, parts, None)
    else:
        error = UpstreamError("the vendor reported an error in the middle of its answer")
    error.upstream_status, error.reason = status, reason
    error.vendor_words = fit_to_keep(parts.words, secrets) or None
    return error


def explained(status: int, reason: Reason | None, said: Said, retry_after_s: int | None) -> UpstreamError:
    """The error for what a vendor means."""
    match reason:
        case "context":
            return ContextTooLong(**token_figures(said))
        case "rate_size":
            return ContextTooLong()
        case "content":
            return ContentRefused("the vendor's rules on content refuse the request", hint="Change what it says.")
        case "image":
            return ImageRefused(
                "the vendor cannot read an image of the request, or finds it too large",
                hint="Send it smaller, as PNG or JPEG, and not by a URL that only you can reach.",
            )
        case "parameter":
            return parameter_refused(said)
        case "model" if status == 410 or MODEL.search(said.all):  # else nothing may be at the lane's address at all
            return ModelGone(f"the vendor does not have this model ({status})", hint="Choose another model.")
        case "quota":
            message = "the gateway's quota with the vendor is used up"
            return UpstreamError(message, hint="Tell your operator.", code="UPSTREAM_QUOTA")
        case "region":
            message = "the vendor does not serve the gateway's region"
            return UpstreamError(message, hint="Tell your operator.", code="UPSTREAM_REGION")
        case "credential":
            message = f"the vendor refused the gateway's credential ({status})"
            return UpstreamError(message, hint="Tell your operator.")
        case "busy":
            return busy(status, retry_after_s)
    if status in REJECTED_STATUSES:
        return UpstreamRejected(
            f"the vendor rejected the request ({status})",
            hint="Check the request's fields; trying again will not help.",
        )
    again = status in RETRIED_STATUSES or status >= 500
    hint = None if again else "Tell your operator."
    return UpstreamError(f"the vendor failed ({status})", hint=hint, retry_after_s=retry_after_s)


def busy(status: int, retry_after_s: int | None) -> UpstreamBusy:
    """A vendor that is over its own limit, or overloaded. The former is passed on as 429, which SDKs wait for."""
    why = "over its own limit" if status == 429 else "overloaded"
    error = UpstreamBusy(
        f"the vendor is {why} ({status})", retry_after_s=USUAL_WAIT_S if retry_after_s is None else retry_after_s
    )
    error.wait_told = retry_after_s is not None
    if status == 429:
        error.status = 429
    return error


def parameter_refused(said: Said) -> ParameterRefused:
    """A field that the vendor's model does not take; it is named where it is one of those that we know."""
    text = said.all
    name = (said.param or "").split(".")[0].split("[")[0].lower()
    if name not in FIELDS:
        quoted = (found.lower() for found in re.findall(r"[`'\"]([a-z_A-Z]{2,40})[`'\"]", text))
        name = next((one for one in quoted if one in FIELDS), "")
    if not name:
        return ParameterRefused(
            "the vendor's model does not take a field of the request, or not with this value",
            hint="Leave out what is not needed, or choose another model.",
        )
    return ParameterRefused(
        f"`{name}`: the vendor's model does not take it, or not with this value",
        hint=f"Leave `{name}` out, change it, or choose another model.",
        field=name,
    )


def status_of(codes: list[str]) -> int | None:
    """The HTTP status that a vendor's code stands for."""
    return next((STATUSES[code.lower()] for code in codes if code.lower() in STATUSES), None)


def retry_after(headers: Mapping[str, str]) -> int | None:
    """Whole seconds, from `retry-after-ms` or `retry-after` in both its forms (RFC 9110 §10.2.3).

    Rounded up, for who comes too early is refused again; at most a day; None where unreadable.
    """
    milliseconds = number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return whole(milliseconds / 1000)
    text = headers.get("retry-after", "").strip()
    seconds = number(text)
    if seconds is None:
        seconds = until(text)
    return None if seconds is None else whole(seconds)


def number(text: str) -> float | None:
    """A number as a header may hold it, without a sign; None where it is none."""
    text = text.strip()
    if NUMBER.fullmatch(text):
        return float(text)
    return math.inf if LONG_NUMBER.fullmatch(text) else None


def until(text: str) -> float | None:
    """Seconds from now to an HTTP date, 0 for one that is over; None where it is none."""
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # RFC 9110 §5.6.7: the old form names no zone and means UTC
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - time())
    except (ValueError, TypeError, IndexError, OverflowError):  # what email.utils is known to raise
        return None


def whole(seconds: float) -> int:
    """Rounded up, and bounded."""
    return math.ceil(min(seconds, MOST_WAIT_S))
