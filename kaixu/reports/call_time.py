"""The time of listed calls, from the fields `from` and `to`: moments of the admission, of whichever months."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import msgspec

from kaixu.plugin.errors import Invalid, Unprocessable

from .export import read_bound
from .time_range import Clock, months_of_calls


class CallTime(msgspec.Struct, frozen=True):
    """From `since` up to `until`, which is not part of it (None: no end), and the months that these calls may be of."""

    first_month: date
    last_month: date
    since: datetime
    until: datetime | None


def read_call_time(values: Mapping[str, Any], clock: Clock) -> CallTime | None:
    """The time that a request asks for; None: it has neither field. A date in `to` is the last day.

    Raises `Invalid`, `Unprocessable`.
    """
    since, until = read_bound(values, "from", clock), read_bound(values, "to", clock)
    if since is None and until is None:
        return None
    if since is None:
        raise Invalid("`to` needs `from`", hint="Send both: from=2026-11-01&to=2026-11-15.", field="from")
    if until is not None and until <= since:
        raise Unprocessable("`to` must be later than `from`", field="to")
    return CallTime(*months_of_calls(since, until or clock.now), since, until)
