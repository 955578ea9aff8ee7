"""`admin-platform-events`: the platform's timeline."""

from __future__ import annotations

from kaixu.accounts.fields import bounded, text
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.timeline import Cursor, read_cursor, timeline, timeline_row_json

#: The most entries of one reply, and how many there are by default.
MAX_ENTRIES = 500
ENTRIES = 100

MAX_TEXT = 200


def platform_event_routes(services: Services) -> list[Route]:
    """The route of the timeline."""

    async def show(request: IncomingRequest) -> Reply:
        fields = Fields(request.args)
        limit = bounded(fields.get("limit"), "limit", MAX_ENTRIES, least=1) or ENTRIES
        before = read_cursor(text(fields.get("cursor"), "cursor", MAX_TEXT))
        rows = await timeline(services.reports, request.args, limit=limit, before=before)
        last = rows[-1] if len(rows) == limit else None
        return json_reply(
            {
                "ok": True,
                "events": [timeline_row_json(row, services.platforms.surfaces) for row in rows],
                "next_cursor": None if last is None else Cursor(last.created_at, last.source, last.id).text,
            }
        )

    return [operator_route(services, "GET", "admin-platform-events", show)]
