"""The filters of monitor events in a query string."""

from __future__ import annotations

from kaixu.accounts.fields import bounded, identifier, instant, text
from kaixu.edge.fields import Fields
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
        since=instant(fields.get("since"), "since"),
        status=bounded(fields.get("status"), "status", 999),
        code=name("code"),
    )
