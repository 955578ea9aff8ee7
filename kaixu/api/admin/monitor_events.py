"""`admin-monitor-events`, `admin-monitor-prune`, and the archive of removed events."""

from __future__ import annotations

import asyncio
import gzip

from kaixu.accounts.fields import bounded, require_known, text
from kaixu.accounts.monitor import prune_monitor
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.monitor_events import monitor_row_json
from kaixu.reports.monitor_list import monitor_events
from kaixu.reports.values import instant
from kaixu.store.monitor_removal import ARCHIVE

from .monitor_filter import read_filter

#: The most events of one reply, and how many there are by default.
MAX_EVENTS = 1000
EVENTS = 200

#: The most files of one reply, and how many there are by default.
MAX_FILES = 2000
FILES = 200

#: For how many days events are kept at most, and what `admin-monitor-prune` keeps by default.
MAX_DAYS = 3650
DAYS = 30

MAX_NAME = 500
MAX_ID = 2**63 - 1


def monitor_event_routes(services: Services) -> list[Route]:
    """The routes of monitor events; the live tail has a file of its own."""

    async def show(request: IncomingRequest) -> Reply:
        fields = Fields(request.args)
        after_id = bounded(fields.get("after_id"), "after_id", MAX_ID) or 0
        before_id = bounded(fields.get("before_id"), "before_id", MAX_ID) or 0
        if after_id and before_id:
            raise Unprocessable("`after_id` and `before_id` exclude each other", field="before_id")
        limit = bounded(fields.get("limit"), "limit", MAX_EVENTS, least=1) or EVENTS
        rows = await monitor_events(
            services.reports, read_filter(fields), limit=limit, after_id=after_id, before_id=before_id
        )
        return json_reply(
            {
                "events": [monitor_row_json(row) for row in rows],
                "next_after_id": rows[-1].id if rows else after_id,
                "next_before_id": rows[0].id if rows and len(rows) == limit else None,
                "dropped": services.monitor.dropped,
            }
        )

    async def prune(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request, may_be_empty=True)
        require_known(body.value, ("days",))
        days = bounded(body.get("days"), "days", MAX_DAYS, least=1) or DAYS
        return await pruned(request, days)

    async def prune_by_settings(request: IncomingRequest) -> Reply:
        return await pruned(request, services.settings.monitor_retention_days)

    async def pruned(request: IncomingRequest, days: int) -> Reply:
        count = await prune_monitor(
            services.pool, services.removal, days=days, actor=ACTOR, request_id=request.request_id
        )
        return json_reply({"ok": True, "deleted": count, "days": days, "archived": services.removal.blobs is not None})

    async def archive(request: IncomingRequest) -> Reply:
        fields = Fields(request.args)
        if key := text(fields.get("key"), "key", MAX_NAME):
            return await archived_file(services, key)
        prefix = text(fields.get("prefix"), "prefix", MAX_NAME) or ARCHIVE
        require_archive(prefix, "prefix")
        limit = bounded(fields.get("limit"), "limit", MAX_FILES, least=10) or FILES
        files = await services.blobs.list(prefix, after=text(fields.get("cursor"), "cursor", MAX_NAME), most=limit)
        return json_reply(
            {
                "ok": True,
                "prefix": prefix,
                "limit": limit,
                "cursor": files[-1].name if len(files) == limit else None,
                "items": [{"key": one.name, "size": one.size, "updated_at": instant(one.updated_at)} for one in files],
            }
        )

    return [
        operator_route(services, "GET", "admin-monitor-events", show),
        operator_route(services, "POST", "admin-monitor-prune", prune),
        operator_route(services, "POST", "monitor-archive-prune", prune_by_settings),
        operator_route(services, "GET", "monitor-archive-access", archive),
    ]


async def archived_file(services: Services, key: str) -> Reply:
    """One file of the archive as lines of JSON; a file has some ten megabytes at most."""
    require_archive(key, "key")
    data = await services.blobs.get(key)
    name = key.rsplit("/", 1)[-1].removesuffix(".gz")
    headers = {
        "content-type": "application/x-ndjson; charset=utf-8",
        "content-disposition": f'attachment; filename="{name}"',
        "x-content-type-options": "nosniff",
    }
    return Reply(200, headers, await asyncio.to_thread(gzip.decompress, data))


def require_archive(name: str, field: str) -> None:
    """Raises `Unprocessable` for other blobs than those of the archive."""
    if not name.startswith(ARCHIVE):
        raise Unprocessable(f"`{field}` must begin with {ARCHIVE}", field=field)
