"""The filters of monitor events in a query string."""

from __future__ import annotations

from datetime import UTC, datetime

from kaixu.accounts.fields import bounded, identifier, text
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.monitor_filter import MonitorFilter

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
        since=moment(name("since"), "since"),
        status=bounded(fields.get("status"), "status", 999),
        code=name("code"),
    )


def moment(value: str | None, field: str) -> datetime | None:
    """An ISO 8601 time; UTC where no zone is given."""
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise Unprocessable(f"`{field}` must be a time, for example 2026-11-29T06:00:00Z", field=field) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
