"""The Quart application: blueprints, edge, errors. What it serves with is opened elsewhere (`kaixu/cli/serve.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
    WebsocketScope,
)
from quart import Quart, Request, Response, g, request

from kaixu.accounts.readings import KeyLookup, take_reading
from kaixu.api.admin.customers import customer_routes
from kaixu.api.admin.devices import device_routes
from kaixu.api.admin.embed_usage import embed_usage_routes
from kaixu.api.admin.keys import key_routes
from kaixu.api.admin.login import login_routes, session_check_routes
from kaixu.api.admin.topup import topup_routes
from kaixu.api.admin.usage import usage_routes
from kaixu.api.anthropic.messages import message_doors
from kaixu.api.client_errors import client_error_door
from kaixu.api.collections.embed import embed_door
from kaixu.api.collections.manage import collections_door
from kaixu.api.collections.search import search_door
from kaixu.api.health import health_routes
from kaixu.api.jobs.look import look_doors
from kaixu.api.jobs.submit import submit_door
from kaixu.api.native.chat import chat_doors
from kaixu.api.openai.batches import batch_door
from kaixu.api.openai.batches import serves as serves_batches
from kaixu.api.openai.completions import completion_door
from kaixu.api.openai.embeddings import embedding_door
from kaixu.api.openai.models import model_routes
from kaixu.api.openai.responses import responses_door
from kaixu.api.operations import operation_door
from kaixu.api.operations import serves as serves_operations
from kaixu.api.user.session import session_routes
from kaixu.config.environment import Network
from kaixu.edge import errors
from kaixu.edge.authenticate import caller_of, insist_on_credential, insist_on_key
from kaixu.edge.client_address import client_address
from kaixu.edge.cors import PREFLIGHT, Edge, origins_of
from kaixu.edge.exchange import BodyLimits, Credential, Doors, Rate
from kaixu.edge.framing import Ambiguous, insist_on_one_reading
from kaixu.edge.json_body import insist_on_kept_text
from kaixu.edge.operators import OperatorBlueprint, insist_on_operator, is_operator
from kaixu.edge.paths import insist_on_text, plain_path
from kaixu.edge.quart_exchange import Connection
from kaixu.edge.request import IncomingRequest, incoming_in, request_id_of
from kaixu.edge.request_body import SMALL_BODY_BYTES, Holder, Share
from kaixu.edge.services import Services
from kaixu.plugin.errors import Invalid, Stopping, TooLarge


class Guard(NamedTuple):
    """What a path of Quart's asks for before it reads a body, whether a long one is taken then, and its rate."""

    credential: Credential | None
    long_bodies: bool
    rate: Rate | None


#: The rates of Quart's views, by their blueprint; those of `OperatorRoutes` are all the operator's.
VIEW_RATES: dict[str, Rate] = {"health": "open", "admin_login": "address", "session": "reading", "models": "reading"}


class Application(Quart):
    """Quart with doors before its router, a cheaper exchange, and the edge called directly around a request."""

    asgi_http_class = Connection

    def __init__(self, edge: Edge, doors: Doors, trusted: tuple[Network, ...] = ()) -> None:
        super().__init__("kaixu", static_folder=None)
        self.edge = edge
        self.doors = doors
        self.trusted = trusted
        self.guards: dict[str, Guard] = {}
        self.is_stopping: Callable[[], bool] = lambda: False

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
            path = plain_path(scope["path"])
            if path != scope["path"]:
                scope = cast(HTTPScope, {**scope, "path": path})
            try:
                insist_on_one_reading(scope["headers"])
                insist_on_text(path, scope["query_string"])
            except Invalid as error:
                asked = incoming_in(scope)
                reply = self.doors.failures.reply(error, asked, errors.shape_at(path))
                if isinstance(error, Ambiguous):
                    reply.headers["connection"] = "close"
                await self.doors.refuse(reply, asked, receive, send)
                return
            if (door := self.doors.find(path)) is not None:
                await self.doors.serve(door, scope, receive, send)
                return
        await super().asgi_app(scope, receive, send)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One exchange. Where the gateway ends it because it leaves, its client is told so."""
        begun = False

        async def noted(message: ASGISendEvent) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await super().__call__(scope, receive, noted)
        except asyncio.CancelledError:
            if not begun and scope["type"] == "http" and self.is_stopping():
                path = plain_path(scope["path"])
                door = self.doors.find(path)
                asked = incoming_in(scope)
                error = Stopping("the gateway is shutting down", hint="Try again in a moment.", retry_after_s=2)
                reply = self.doors.failures.reply(error, asked, door.shape if door else errors.shape_at(path))
                reply.headers["connection"] = "close"
                await self.doors.send(reply, asked, noted)
            raise

    async def received(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable, share: Share
    ) -> bytes | None:
        """The body of a request to one of Quart's views; None where there is none to serve. See `Doors.received`."""
        asked = incoming_in(scope)
        guard = self.guard_at(asked.path) if asked.method != "OPTIONS" else None
        most = self.doors.limits().body_bytes
        return await self.doors.received(
            asked,
            receive,
            send,
            share,
            credential=guard and guard.credential,
            most=most if guard and guard.long_bodies else min(most, SMALL_BODY_BYTES),
            shape=errors.shape_at(asked.path),
            rate="open" if guard is None else guard.rate or "reading",
            check=insist_on_kept_text,
        )

    def guard_at(self, path: str) -> Guard | None:
        """The guard of a path; that of a rule with a variable stands before all paths below it."""
        found = self.guards.get(path)
        if found is None:
            parts = path.split("/")
            below = ("/".join([*parts[:at], "<"]) for at in range(len(parts) - 1, 1, -1))
            found = next((self.guards[one] for one in below if one in self.guards), None)
        return found

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

    def adopt(self, services: Services) -> None:
        """Go by `core.gateway` as it is now, where that is not asked for each call."""
        self.edge.allow(origins_of(services.settings.allowed_origins, services.gateway.allow_origins))
        self.config["MAX_CONTENT_LENGTH"] = max(services.gateway.body_limit_bytes, SMALL_BODY_BYTES)

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


def create_app(services: Services) -> Application:
    """An application around an opened gateway."""
    edge = Edge(frozenset())
    failures = errors.Failures(services.monitor)

    def limits() -> BodyLimits:
        section = services.gateway
        # One whole body has room in any case.
        held = max(section.body_memory_bytes, section.body_limit_bytes)
        return BodyLimits(section.body_limit_bytes, held, section.stall_s)

    doors = Doors(edge, failures, limits, lambda headers: insist_on_credential(headers, services.secrets))
    lookup = KeyLookup(services.pool)

    async def identify(asked: IncomingRequest) -> Holder:
        if is_operator(services, asked.headers):
            return "operator"
        if asked.headers.get("x-admin-password"):
            raise TooLarge(
                f"with a password alone a body is taken up to {SMALL_BODY_BYTES} bytes",
                hint="Log in with POST admin-login and send the token as Bearer.",
            )
        caller = caller_of(asked, services.secrets)
        return await lookup.owner_of(key_hash=caller.key_hash, legacy_hash=caller.legacy_hash, key_id=caller.key_id)

    async def reading(asked: IncomingRequest, body_bytes: int) -> None:
        caller = caller_of(asked, services.secrets)
        await take_reading(
            services.pool,
            key_hash=caller.key_hash,
            legacy_hash=caller.legacy_hash,
            key_id=caller.key_id,
            body_bytes=body_bytes,
            per_minute=services.gateway.readings_per_minute,
            default_rpm=services.settings.default_rpm_limit,
        )

    doors.identify = identify
    doors.reading = reading
    for door in (
        *chat_doors(services),
        *message_doors(services),
        completion_door(services),
        responses_door(services),
        embedding_door(services),
        embed_door(services),
        search_door(services),
        collections_door(services),
        submit_door(services),
        *look_doors(services),
        client_error_door(services),
    ):
        doors.add(door)
    operations = operation_door(services)
    batched = batch_door(services)
    doors.otherwise = lambda path: (
        batched if serves_batches(path) else operations if serves_operations(services, path) else None
    )
    app = Application(edge, doors, services.settings.trusted_networks)
    app.is_stopping = lambda: services.gate.calls.stopping
    app.adopt(services)
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
        app.register_blueprint(make(services))
    for rule in app.url_map.iter_rules():
        blueprint = rule.endpoint.partition(".")[0]
        path, variable, _ = rule.rule.partition("<")
        if isinstance(app.blueprints.get(blueprint), OperatorBlueprint):
            guard = Guard(lambda headers: insist_on_operator(services, headers), long_bodies=True, rate="operator")
        elif blueprint == "session":
            guard = Guard(insist_on_key, long_bodies=False, rate=VIEW_RATES[blueprint])
        else:
            rate = VIEW_RATES.get(blueprint)
            asks = None if rate in ("open", "address") else doors.credential
            guard = Guard(asks, long_bodies=False, rate=rate)
        app.guards[path + variable] = guard
    return app
