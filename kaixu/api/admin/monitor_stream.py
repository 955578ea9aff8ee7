"""`admin-monitor-stream`: the live tail of monitor events, as server-sent events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic, time

from kaixu.accounts.fields import bounded
from kaixu.accounts.operator_identity import READ
from kaixu.edge.fields import Fields
from kaixu.edge.operators import identify, looks_like_operator, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import SSE, Reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.sse import EventStream, frame
from kaixu.edge.tokens import ADMIN_TTL_S
from kaixu.plugin.errors import DatabaseAway
from kaixu.reports.tail_viewer import TailEnded, TailEvent, TailWarning, Viewer
from kaixu.reports.values import instant

from .monitor_filter import read_filter

#: How often an open stream checks that its viewer is still an operator.
CHECK_S = 1.0

MAX_ID = 2**63 - 1


def monitor_stream_routes(services: Services) -> list[Route]:
    """The route of the live tail."""

    async def stream(request: IncomingRequest) -> Reply:
        fields = Fields(request.args)
        shown = read_filter(fields)
        after_id = read_after_id(fields, request)
        may_watch = permission(services, request)
        viewer = await services.tail.join(shown, after_id=after_id)

        async def write(out: EventStream) -> None:
            out.started = True
            try:
                await write_tail(viewer, out, may_watch)
            finally:
                services.tail.leave(viewer)

        async def abandon() -> None:
            services.tail.leave(viewer)

        headers = {"content-type": SSE, "cache-control": "no-store", "x-accel-buffering": "no"}
        return Reply(200, headers, EventStream(write, abandon, ping=ping))

    return [operator_route(services, "GET", "admin-monitor-stream", stream)]


def read_after_id(fields: Fields, request: IncomingRequest) -> int | None:
    """The id to go on after: of a browser that connects again, or the field. None and 0: from now on."""
    field = bounded(fields.get("after_id"), "after_id", MAX_ID)
    header = bounded(request.headers.get("last-event-id"), "Last-Event-ID", MAX_ID)
    return header or field or None


def permission(services: Services, request: IncomingRequest) -> Callable[[], Awaitable[bool]]:
    """Whether the caller may still watch: while the credential is valid; with a password, as long as a token would be
    and passwords are accepted.

    While the database is away there are no events either.
    """
    end = monotonic() + ADMIN_TTL_S

    looked_at = monotonic()

    async def may_watch() -> bool:
        nonlocal looked_at
        if monotonic() < looked_at + CHECK_S:
            return True
        looked_at = monotonic()
        if request.identity.session_id is None and request.identity.token_id is None:
            return monotonic() < end and services.operators.admin_password
        if not looks_like_operator(services, request.headers):  # the token has expired
            return False
        try:
            identity = await identify(services, request)
        except DatabaseAway:
            return True
        return identity is not None and identity.may(READ)

    return may_watch


async def write_tail(viewer: Viewer, out: EventStream, may_watch: Callable[[], Awaitable[bool]]) -> None:
    """Write the frames until the tail ends, or the viewer may not watch any more."""
    now = instant(datetime.now(UTC))
    await out.put(frame("hello", {"ok": True, "after_id": viewer.began_after, "now": now}))
    while await may_watch():
        try:
            items = await viewer.read(CHECK_S)
        except TailEnded as ended:
            await out.put(frame("warn", {"error": str(ended), "code": "STOPPING"}))
            return
        for item in items:
            await out.put(item_frame(item))
    error = "the admin token is not valid any more: log in again"
    await out.put(frame("warn", {"error": error, "code": "UNAUTHENTICATED"}))


def item_frame(item: TailEvent | TailWarning) -> bytes:
    """The frame of an event, with its id for `Last-Event-ID`, or of a warning."""
    if isinstance(item, TailWarning):
        return frame("warn", {"error": item.text} | ({"dropped": item.dropped} if item.dropped else {}))
    return b"id: %d\nevent: event\ndata: %s\n\n" % (item.row.id, item.json)


def ping() -> bytes:
    """Sent on an idle stream."""
    return frame("ping", {"t": int(time() * 1000)})
