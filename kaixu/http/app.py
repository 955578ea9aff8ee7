"""The Quart application: blueprints, edge, errors. What it serves with is opened elsewhere (`kaixu/cli/serve.py`)."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope, WebsocketScope
from quart import Quart, Request, Response, g, request

from kaixu.config.environment import Network
from kaixu.plugin.errors import Invalid

from . import errors
from .address import client_address
from .admin.access import OperatorBlueprint, insist_on_operator
from .admin.customers import customer_routes
from .admin.devices import device_routes
from .admin.embed_usage import embed_usage_routes
from .admin.keys import key_routes
from .admin.login import login_routes, session_check_routes
from .admin.topup import topup_routes
from .admin.usage import usage_routes
from .anthropic.messages import message_doors
from .authenticate import insist_on_bearer, insist_on_credential
from .chat import chat_doors
from .client_errors import client_error_door
from .collections.embed import embed_door
from .collections.manage import collections_door
from .collections.search import search_door
from .connection import Connection
from .core import Core
from .doors import Credential, Doors, Limits
from .edge import PREFLIGHT, Edge, origins_of
from .health import health_routes
from .incoming import incoming_in, request_id_of
from .jobs.look import look_doors
from .jobs.submit import submit_door
from .names import paths_of
from .openai.batches import batch_door
from .openai.batches import serves as serves_batches
from .openai.completions import completion_door
from .openai.embeddings import embedding_door
from .openai.models import model_routes
from .openai.responses import responses_door
from .operations import operation_door
from .operations import serves as serves_operations
from .reception import SMALL_BODY_BYTES, Share
from .user.session import session_routes


class Guard(NamedTuple):
    """What a path of Quart's asks for before it reads a body, and whether a long one is taken then."""

    credential: Credential
    long_bodies: bool


class Application(Quart):
    """Quart with doors before its router, a cheaper exchange, and the edge called directly around a request."""

    asgi_http_class = Connection

    def __init__(self, edge: Edge, doors: Doors, trusted: tuple[Network, ...] = ()) -> None:
        super().__init__("kaixu", static_folder=None)
        self.edge = edge
        self.doors = doors
        self.trusted = trusted
        self.guards: dict[str, Guard] = {}

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """A door where there is one at this path, else Quart."""
        if scope["type"] == "websocket":
            await self.turn_away(scope, receive, send)
            return
        if scope["type"] == "http":
            client = scope.get("client")
            if self.trusted and client:
                address = client_address(client[0], scope["headers"], self.trusted)
                scope = cast(HTTPScope, {**scope, "client": (address, client[1])})
            if (door := self.doors.find(scope["path"])) is not None:
                await self.doors.serve(door, scope, receive, send)
                return
        await super().asgi_app(scope, receive, send)

    async def received(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable, share: Share
    ) -> bytes | None:
        """The body of a request to one of Quart's views; None where there is none to serve. See `Doors.received`."""
        asked = incoming_in(scope)
        guard = self.guards.get(asked.path.rstrip("/")) if asked.method != "OPTIONS" else None
        most = self.doors.limits().body_bytes
        return await self.doors.received(
            asked,
            receive,
            send,
            share,
            credential=guard and guard.credential,
            most=most if guard and guard.long_bodies else min(most, SMALL_BODY_BYTES),
            shape=errors.shape_at(asked.path),
        )

    async def turn_away(self, scope: WebsocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Nothing here speaks WebSocket: say so where the server can, else close."""
        await receive()
        sender = cast(Any, send)
        if "websocket.http.response" not in scope.get("extensions", {}):
            await sender({"type": "websocket.close", "code": 1000, "reason": "no WebSocket here"})
            return
        asked = incoming_in(cast(HTTPScope, {"method": "GET", **scope}))
        error = Invalid("this gateway speaks no WebSocket", hint="Send a plain request; streams are SSE.")
        reply = self.doors.failures.reply(error, asked, errors.shape_at(asked.path))
        start = self.doors.begun(reply, asked)
        await sender({**start, "type": "websocket.http.response.start"})
        await sender({"type": "websocket.http.response.body", "body": reply.body, "more_body": False})

    def adopt(self, core: Core) -> None:
        """Go by `core.gateway` as it is now, where that is not asked for each call."""
        self.edge.allow(origins_of(core.settings.allowed_origins, core.gateway.allow_origins))
        self.config["MAX_CONTENT_LENGTH"] = max(core.gateway.body_limit_bytes, SMALL_BODY_BYTES)

    async def preprocess_request(self, request_context: Any = None) -> Any:
        """Give the request its id; answer a preflight at once."""
        asked = current_request()
        g.request_id = request_id_of(asked.headers)
        return Response(b"", status=204, headers=PREFLIGHT) if asked.method == "OPTIONS" else None

    async def process_response(self, response: Any, request_context: Any = None) -> Any:
        """See `Edge.finish`."""
        asked = current_request()
        self.edge.finish(asked.method, asked.headers, g.request_id, response.headers)
        return response


def current_request() -> Request:
    """The request itself; going through its proxy for every header would cost a look-up each."""
    current: Request = request._get_current_object()  # type: ignore[attr-defined]
    return current


def create_app(core: Core) -> Application:
    """An application around an opened gateway."""
    edge = Edge(frozenset())
    failures = errors.Failures(core.monitor)

    def limits() -> Limits:
        section = core.gateway
        # One whole body has room in any case.
        held = max(section.body_memory_bytes, section.body_limit_bytes)
        return Limits(section.body_limit_bytes, held, section.stall_s)

    doors = Doors(edge, failures, limits, lambda headers: insist_on_credential(headers, core.secrets))
    for door in (
        *chat_doors(core),
        *message_doors(core),
        completion_door(core),
        responses_door(core),
        embedding_door(core),
        embed_door(core),
        search_door(core),
        collections_door(core),
        submit_door(core),
        *look_doors(core),
        client_error_door(core),
    ):
        doors.add(door)
    operations = operation_door(core)
    batched = batch_door(core)
    doors.otherwise = lambda path: (
        batched if serves_batches(path) else operations if serves_operations(core, path) else None
    )
    app = Application(edge, doors, core.settings.trusted_networks)
    app.adopt(core)
    app.config["BODY_TIMEOUT"] = None  # `Connection` has read the body, within its own time
    app.config["RESPONSE_TIMEOUT"] = None
    app.url_map.strict_slashes = False
    errors.install(app, failures)
    for make in (
        health_routes,
        session_routes,
        login_routes,
        session_check_routes,
        customer_routes,
        key_routes,
        usage_routes,
        embed_usage_routes,
        topup_routes,
        device_routes,
        model_routes,
    ):
        app.register_blueprint(make(core))
    for rule in app.url_map.iter_rules():
        if isinstance(app.blueprints.get(rule.endpoint.partition(".")[0]), OperatorBlueprint):
            app.guards[rule.rule] = Guard(lambda headers: insist_on_operator(core, headers), long_bodies=True)
    for path in paths_of("session-token"):
        app.guards[path] = Guard(insist_on_bearer, long_bodies=False)
    return app
