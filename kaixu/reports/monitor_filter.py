"""The filters of monitor events, for lists and the live tail."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .monitor_events import MonitorRow


class MonitorFilter(msgspec.Struct, frozen=True):
    """Which events to show; None: all of them. Everything is compared exactly; `until` is not included."""

    level: str | None = None
    kind: str | None = None
    function: str | None = None
    app: str | None = None
    request_id: str | None = None
    customer_id: int | None = None
    key_id: int | None = None
    provider: str | None = None
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    status: int | None = None
    code: str | None = None

    def matches(self, row: MonitorRow) -> bool:
        """Whether an event is shown."""
        return (
            (self.level is None or row.level == self.level)
            and (self.kind is None or row.kind == self.kind)
            and (self.function is None or row.function_name == self.function)
            and (self.app is None or row.app_id == self.app)
            and (self.request_id is None or row.request_id == self.request_id)
            and (self.customer_id is None or row.customer_id == self.customer_id)
            and (self.key_id is None or row.key_id == self.key_id)
            and (self.provider is None or row.provider == self.provider)
            and (self.model is None or row.model == self.model)
            and (self.since is None or row.created_at >= self.since)
            and (self.until is None or row.created_at < self.until)
            and (self.status is None or self.status in (row.http_status, row.upstream_status))
            and (self.code is None or row.error_code == self.code)
        )
