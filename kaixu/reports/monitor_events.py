"""Monitor events as operators see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from .values import instant


class MonitorRow(msgspec.Struct, frozen=True):
    """One monitor event."""

    id: int
    created_at: datetime
    request_id: str | None
    level: str
    kind: str
    function_name: str | None
    method: str | None
    path: str | None
    origin: str | None
    referer: str | None
    user_agent: str | None
    ip_hash: str | None
    app_id: str | None
    build_id: str | None
    customer_id: int | None
    key_id: int | None
    provider: str | None
    model: str | None
    deployment: str | None
    http_status: int | None
    duration_ms: int | None
    request_bytes: int | None
    response_bytes: int | None
    error_code: str | None
    error_message: str | None
    upstream_status: int | None
    upstream_body: str | None
    detail: str | None
    extra: dict[str, Any]


#: The columns of `MonitorRow`, of an event `e`.
COLUMNS = """
           e.id, e.created_at, e.request_id, e.level, e.kind, e.function_name, e.method, e.path, e.origin, e.referer,
           e.user_agent, e.ip_hash, e.app_id, e.build_id, e.customer_id, e.key_id, e.provider, e.model, e.deployment,
           e.http_status, e.duration_ms, e.request_bytes, e.response_bytes, e.error_code, e.error_message,
           e.upstream_status, e.upstream_body, e.detail, e.extra
"""


def monitor_row_json(row: MonitorRow) -> dict[str, Any]:
    """One event. `api_key_id`, `error_stack` and `ip` are for older pages; `ip` is null: only its hash is stored."""
    return msgspec.structs.asdict(row) | {
        "created_at": instant(row.created_at),
        "api_key_id": row.key_id,
        "error_stack": row.extra.get("stack"),
        "ip": None,
    }
