"""The filters of monitor events in a query string."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import asyncpg
from msgspec.structs import replace

from kaixu.accounts.fields import bounded, identifier, instant, text
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Invalid, Unprocessable
from kaixu.reports.monitor_filter import MonitorFilter
from kaixu.reports.time_range import clock_of, read_moment

#: The longest value to compare with.
MAX_TEXT = 200


def read_filter(fields: Fields) -> MonitorFilter:
    """The filters. `function` may be written `fn`. Raises `Unprocessable`."""

    def name(field: str) -> str | None:
        return text(fields.get(field), field, MAX_TEXT)

    def number(field: str) -> int | None:
        return identifier(fields.get(field), field) if fields.get(field) else None

    return MonitorFilter(
        level=name("level"),
        kind=name("kind"),
        function=name("function") or name("fn"),
        app=name("app"),
        request_id=name("request_id"),
        customer_id=number("customer_id"),
        key_id=number("api_key_id"),
        provider=name("provider"),
        model=name("model"),
        since=instant(fields.get("since"), "since"),
        status=bounded(fields.get("status"), "status", 999),
        code=name("code"),
    )


async def read_filter_with_times(fields: Fields, pool: asyncpg.Pool) -> MonitorFilter:
    """The filters of a list, which may also have `from` and `to` as every report. Raises `Invalid`, `Unprocessable`."""
    shown = read_filter(fields)
    if not fields.get("from") and not fields.get("to"):
        return shown
    if shown.since is not None:
        raise Invalid("`since` and `from`, `to` exclude each other", hint="Send `from` instead.", field="since")
    clock = await clock_of(pool)
    zone = ZoneInfo(clock.zone)
    since = read_moment(fields.get("from"), "from", clock, zone, is_end=False) if fields.get("from") else None
    until = read_moment(fields.get("to"), "to", clock, zone, is_end=True) if fields.get("to") else None
    if since is not None and until is not None and since >= until:
        raise Unprocessable("`from` must be before `to`", field="from")
    return replace(shown, since=since, until=until)
