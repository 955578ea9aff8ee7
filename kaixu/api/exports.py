"""`admin-export` and `user-export`: usage as a file, streamed."""

from __future__ import annotations

from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.sse import EventStream
from kaixu.reports.export import Export, read_export, read_user_export
from kaixu.reports.export_copy import Exports, Subject, file_name
from kaixu.reports.own_key import find_own_key

from .user.credential import credential_of, own_route

CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson; charset=utf-8"}

#: How long a failure still gets an HTTP status of its own; after it, the reply begins.
PATIENCE_S = 10.0

#: What waits for a slow client. A short export fits, so that it gives its connection back at once.
BUFFER_BYTES = 1024 * 1024


def export_routes(services: Services) -> list[Route]:
    """The routes of both; all exports of a process share its places."""
    exports = Exports(services.reports)

    async def for_operator(request: IncomingRequest) -> Reply:
        export = read_export(request.args, await exports.clock())
        subject = await exports.find_subject(export)
        return await export_reply(exports, export, subject, file_name(export, subject))

    async def for_customer(request: IncomingRequest) -> Reply:
        own = await find_own_key(services.reports, credential_of(services, request))
        export = read_user_export(request.args, own, await exports.clock())
        subject = await exports.find_subject(export)
        return await export_reply(exports, export, subject, file_name(export, subject, own))

    return [
        operator_route(services, "GET", "admin-export", for_operator),
        own_route("GET", "user-export", for_customer),
    ]


async def export_reply(exports: Exports, export: Export, subject: Subject, name: str) -> Reply:
    """The reply, which begins with the first lines. A client that disconnects ends the query."""

    async def write(out: EventStream) -> None:
        out.started = True
        await exports.write(export, subject, out.put)

    async def abandon() -> None:
        """Nothing to give back: the task never ran."""

    body = EventStream(write, abandon, ping=lambda: b"", buffer_bytes=BUFFER_BYTES)
    try:
        await body.first(PATIENCE_S)
    except BaseException:
        await body.aclose()
        raise
    headers = {
        "content-type": CONTENT_TYPES[export.format],
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="{name}"',
        "x-content-type-options": "nosniff",
    }
    return Reply(200, headers, body)
