"""`admin-monitor-events`, `admin-monitor-prune`, and the archive of removed events."""

from __future__ import annotations

from kaixu.accounts.fields import bounded, require_known, text
from kaixu.accounts.operator_identity import SETTINGS
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

from .monitor_filter import read_filter_with_times

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
        shown = await read_filter_with_times(fields, services.reports)
        rows = await monitor_events(services.reports, shown, limit=limit, after_id=after_id, before_id=before_id)
        return json_reply(
            {
                "events": [monitor_row_json(row) for row in rows],
                "next_after_id": rows[-1].id if rows else after_id,
                "next_before_id": rows[0].id if rows and len(rows) == limit else None,
                "dropped": services.monitor.dropped,
            }
        )

    async def count(request: IncomingRequest) -> Reply:
        """How many events a prune would remove."""
        days = bounded(request.args.get("days"), "days", MAX_DAYS, least=1) or DAYS
        would_delete = await services.monitor_archive.count(days=days)
        is_archived = services.monitor_archive.is_on()
        return json_reply({"ok": True, "would_delete": would_delete, "days": days, "archived": is_archived})

    async def prune(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request, may_be_empty=True)
        require_known(body.value, ("days",))
        days = bounded(body.get("days"), "days", MAX_DAYS, least=1) or DAYS
        return await pruned(request, days)

    async def prune_by_settings(request: IncomingRequest) -> Reply:
        return await pruned(request, services.settings.monitor_retention_days)

    async def pruned(request: IncomingRequest, days: int) -> Reply:
        archive = services.monitor_archive
        is_archived = archive.is_on()
        count = await archive.prune(days=days, actor=ACTOR, request_id=request.request_id)
        return json_reply({"ok": True, "deleted": count, "days": days, "archived": is_archived})

    async def archive(request: IncomingRequest) -> Reply:
        fields = Fields(request.args)
        if key := text(fields.get("key"), "key", MAX_NAME):
            return await archived_file(services, key)
        prefix = text(fields.get("prefix"), "prefix", MAX_NAME) or "gateway_events/"
        limit = bounded(fields.get("limit"), "limit", MAX_FILES, least=10) or FILES
        after = text(fields.get("cursor"), "cursor", MAX_NAME)
        files = await services.monitor_archive.files(prefix, after=after, most=limit)
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
        operator_route(services, "GET", "admin-monitor-prune", count),
        operator_route(services, "POST", "admin-monitor-prune", prune, access=SETTINGS),
        operator_route(services, "POST", "monitor-archive-prune", prune_by_settings, access=SETTINGS),
        operator_route(services, "GET", "monitor-archive-access", archive),
    ]


async def archived_file(services: Services, key: str) -> Reply:
    """One file of the archive as lines of JSON."""
    data = await services.monitor_archive.read(key)
    name = key.rsplit("/", 1)[-1].removesuffix(".gz")
    headers = {
        "content-type": "application/x-ndjson; charset=utf-8",
        "content-disposition": f'attachment; filename="{name}"',
        "x-content-type-options": "nosniff",
    }
    return Reply(200, headers, data)
