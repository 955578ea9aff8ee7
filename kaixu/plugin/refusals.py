"""What a vendor's status means, in our words; what the vendor wrote stays with us."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from time import time

from kaixu.plugin.errors import UpstreamBusy, UpstreamError, UpstreamRejected

REJECTED_STATUSES = frozenset({400, 404, 413, 415, 422})
CREDENTIAL_STATUSES = frozenset({401, 403})
BUSY_STATUSES = frozenset({429, 503, 529})
RETRIED_STATUSES = frozenset({408, 409})  # and whatever is the vendor's own fault

#: What a busy vendor that names no time is given.
USUAL_WAIT_S = 5

#: The longest wait that is passed on: beyond a day a vendor's figure is a mistake, or no business of a client's.
MOST_WAIT_S = 86_400

#: RFC 9110 knows whole seconds; some vendors, and their own clients, know fractions too. ASCII digits only.
NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
LONG_NUMBER = re.compile(r"[0-9]{10,}(\.[0-9]*)?")


def refusal(status: int, retry_after_s: int | None) -> UpstreamError:
    """A vendor's status that is not success."""
    if status in REJECTED_STATUSES:
        return UpstreamRejected(
            f"the vendor rejected the request ({status})",
            hint="Check the request's fields; trying again will not help.",
        )
    if status in BUSY_STATUSES:
        wait_s = USUAL_WAIT_S if retry_after_s is None else retry_after_s
        why = "over its own limit" if status == 429 else "overloaded"
        return UpstreamBusy(f"the vendor is {why} ({status})", retry_after_s=wait_s)
    if status in CREDENTIAL_STATUSES:
        return UpstreamError(f"the vendor refused the gateway's credential ({status})", hint="Tell your operator.")
    again = status in RETRIED_STATUSES or status >= 500
    hint = None if again else "Tell your operator."
    return UpstreamError(f"the vendor failed ({status})", hint=hint, retry_after_s=retry_after_s)


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
