"""Turns a vendor's error into one of our errors. The vendor's own text is kept for the operator only."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
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
from kaixu.plugin.refusal_reasons import Reason, VendorError, parse_error, reason_of, token_figures, wait_in
from kaixu.plugin.refusal_wordings import MODEL
from kaixu.plugin.vendor_words import redacted

REJECTED_STATUSES = frozenset({400, 404, 413, 415, 422})
RETRIED_STATUSES = frozenset({408, 409})  # and 5xx

#: The HTTP status of vendors' error codes, for errors without a status.
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

#: Field names of requests, in our and in vendors' protocols: only these are shown to a client.
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

#: `retry-after` for a busy vendor that names no time. Clients multiply it by their own tries.
USUAL_WAIT_S = 2

#: The longest wait that is passed on. More than a day is most likely a mistake of the vendor.
MOST_WAIT_S = 86_400

#: RFC 9110 has whole seconds; some vendors also send fractions. ASCII digits only.
NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
LONG_NUMBER = re.compile(r"[0-9]{10,}(\.[0-9]*)?")

#: No delay but a time: seconds since 1970, as some vendors send them (a delay of ten digits would be 31 years).
UNIX_TIME = re.compile(r"[1-9][0-9]{9}(\.[0-9]{1,9})?")

#: A time as Netlify writes it, `2022-01-27 22:20:17 UTC`, or as ISO 8601 does; always UTC.
DATE_TEXT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?(?: ?UTC| ?GMT|Z)?")


def refusal(status: int, retry_after_s: int | None, body: Any = b"", secrets: Iterable[str] = ()) -> UpstreamError:
    """The error for a vendor's failure status and its body (bytes, or an object parsed from them).

    The vendor's text is kept for the operator without `secrets`; the message contains none of it.
    """
    vendor_error = parse_error(body)
    reason = reason_of(status, vendor_error)
    if retry_after_s is None and reason == "busy" and (wait_s := wait_in(vendor_error)) is not None:
        retry_after_s = whole(wait_s)
    error = error_for(status, reason, vendor_error, retry_after_s)
    error.upstream_status = status
    error.reason = reason
    error.vendor_words = redacted(vendor_error.words, secrets) or None
    return error


def error_in_answer(error: Any, status: int | None = None, secrets: Iterable[str] = ()) -> UpstreamError:
    """The error for a failure inside a response of status 200: an event of a stream, or the whole body.

    `error` is the vendor's error, decoded. Without `status`, the error's own code decides, such as OpenRouter's
    `code: 429` or Anthropic's `overloaded_error`.
    """
    parts = parse_error(error)
    status = status or parts.status or status_of(parts.codes)
    reason = reason_of(status or 400, parts)
    if reason == "busy":
        waiting = wait_in(parts)
        mapped: UpstreamError = busy_error(status or 503, None if waiting is None else whole(waiting))
        mapped.message = "the vendor's rate limit is reached"
        mapped.args = (mapped.message,)
    elif reason is not None or status in REJECTED_STATUSES:
        mapped = error_for(status or 400, reason, parts, None)
    else:
        mapped = UpstreamError("the vendor reported an error in the middle of its answer")
    mapped.upstream_status, mapped.reason = status, reason
    mapped.vendor_words = redacted(parts.words, secrets) or None
    return mapped


def error_for(
    status: int, reason: Reason | None, vendor_error: VendorError, retry_after_s: int | None
) -> UpstreamError:
    """The error for a reason, or for a status without one."""
    match reason:
        case "context":
            return ContextTooLong(**token_figures(vendor_error))
        case "rate_size":
            return ContextTooLong()
        case "content":
            return ContentRefused("the vendor's content policy refuses the request", hint="Change the content.")
        case "image":
            return ImageRefused(
                "the vendor cannot read an image of the request, or finds it too large",
                hint="Send a smaller PNG or JPEG, and no URL that the vendor cannot reach.",
            )
        case "parameter":
            return parameter_refused(vendor_error)
        case "model" if status == 410 or MODEL.search(vendor_error.all):  # else the lane's address may be wrong
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
            return busy_error(status, retry_after_s)
    if status in REJECTED_STATUSES:
        return UpstreamRejected(
            f"the vendor rejected the request ({status})",
            hint="Check the request's fields; trying again will not help.",
        )
    again = status in RETRIED_STATUSES or status >= 500
    hint = None if again else "Tell your operator."
    return UpstreamError(f"the vendor failed ({status})", hint=hint, retry_after_s=retry_after_s)


def busy_error(status: int, retry_after_s: int | None) -> UpstreamBusy:
    """The error for a vendor that is overloaded, or whose rate limit is reached (429, for which SDKs wait)."""
    message = "the vendor's rate limit is reached" if status == 429 else "the vendor is overloaded"
    error = UpstreamBusy(
        f"{message} ({status})", retry_after_s=USUAL_WAIT_S if retry_after_s is None else retry_after_s
    )
    error.wait_told = retry_after_s is not None
    if status == 429:
        error.status = 429
    return error


def parameter_refused(vendor_error: VendorError) -> ParameterRefused:
    """The error for a field that the vendor's model does not accept; known field names are shown."""
    text = vendor_error.all
    name = (vendor_error.param or "").split(".")[0].split("[")[0].lower()
    if name not in FIELDS:
        quoted = (found.lower() for found in re.findall(r"[`'\"]([a-z_A-Z]{2,40})[`'\"]", text))
        name = next((one for one in quoted if one in FIELDS), "")
    if not name:
        return ParameterRefused(
            "the vendor's model does not accept a field of the request, or not with this value",
            hint="Leave out fields that you do not need, or choose another model.",
        )
    return ParameterRefused(
        f"`{name}`: the vendor's model does not accept it, or not with this value",
        hint=f"Leave `{name}` out, change it, or choose another model.",
        field=name,
    )


def status_of(codes: list[str]) -> int | None:
    """The HTTP status of a vendor's error codes."""
    return next((STATUSES[code.lower()] for code in codes if code.lower() in STATUSES), None)


def retry_after(headers: Mapping[str, str]) -> int | None:
    """Whole seconds from `retry-after-ms` or from `retry-after`.

    Its forms are those of RFC 9110 §10.2.3, seconds and an HTTP date, and what vendors send besides: a Unix time, and a
    date as `2022-01-27 22:20:17 UTC`. Rounded up, because a try that comes too early is refused again; at most a day;
    None if unreadable.
    """
    milliseconds = number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return whole(milliseconds / 1000)
    text = headers.get("retry-after", "").strip()
    if UNIX_TIME.fullmatch(text):
        return whole(max(0.0, float(text) - time()))
    seconds = number(text)
    if seconds is None:
        seconds = until(text)
    return None if seconds is None else whole(seconds)


def number(text: str) -> float | None:
    """Parse an unsigned number of a header; None if it is not one."""
    text = text.strip()
    if NUMBER.fullmatch(text):
        return float(text)
    return math.inf if LONG_NUMBER.fullmatch(text) else None


def until(text: str) -> float | None:
    """Seconds until an HTTP date or `DATE_TEXT`, 0 if it is past; None if the text is not a date."""
    try:
        match = DATE_TEXT.fullmatch(text)
        date = datetime.fromisoformat(f"{match[1]}T{match[2]}") if match else parsedate_to_datetime(text)
        if date.tzinfo is None:  # RFC 9110 §5.6.7: the old form has no zone and means UTC
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - time())
    except (ValueError, TypeError, IndexError, OverflowError):  # all that email.utils raises
        return None


def whole(seconds: float) -> int:
    """Whole seconds, rounded up, at most a day."""
    return math.ceil(min(seconds, MOST_WAIT_S))
