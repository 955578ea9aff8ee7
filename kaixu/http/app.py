"""The Quart application: blueprints, edge, errors. What it serves with is opened elsewhere (`kaixu/cli/serve.py`)."""

from __future__ import annotations

from typing import Any

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Quart, Request, Response, g, request

from . import errors
from .admin.customers import customer_routes
from .admin.devices import device_routes
from .admin.keys import key_routes
from .admin.login import login_routes, session_check_routes
from .admin.topup import topup_routes
from .admin.usage import usage_routes
from .anthropic.messages import message_doors
from .chat import chat_doors
from .client_errors import client_error_door
from .connection import Connection
from .core import Core
from .doors import Doors
from .edge import PREFLIGHT, Edge, origins_of
from .health import health_routes
from .incoming import request_id_of
from .openai.completions import completion_door
from .openai.embeddings import embedding_door
from .openai.models import model_routes
from .openai.responses import responses_door
from .user.session import session_routes


class Application(Quart):
    """Quart with doors before its router, a cheaper exchange, and the edge called directly around a request."""

    asgi_http_class = Connection

    def __init__(self, edge: Edge, doors: Doors) -> None:
        super().__init__("kaixu", static_folder=None)
        self.edge = edge
        self.doors = doors

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """A door where there is one at this path, else Quart."""
        if scope["type"] == "http" and (door := self.doors.find(scope["path"])) is not None:
            await self.doors.serve(door, scope, receive, send)
        else:
            await super().asgi_app(scope, receive, send)

    def adopt(self, core: Core) -> None:
        """Go by `core.gateway` as it is now, where that is not asked for each call."""
        self.edge.allow(origins_of(core.settings.allowed_origins, core.gateway.allow_origins))
        self.config["MAX_CONTENT_LENGTH"] = core.gateway.body_limit_bytes

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
    doors = Doors(edge, failures, lambda: core.gateway.body_limit_bytes)
    for door in (
        *chat_doors(core),
        *message_doors(core),
        completion_door(core),
        responses_door(core),
        embedding_door(core),
        client_error_door(core),
    ):
        doors.add(door)
    app = Application(edge, doors)
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
        topup_routes,
        device_routes,
        model_routes,
    ):
        app.register_blueprint(make(core))
    return app
