"""The Quart application: blueprints, edge, errors. What it serves with is opened elsewhere (`kaixu/cli/serve.py`)."""

from __future__ import annotations

from typing import Any

from quart import Quart, Request, request

from . import errors
from .admin.customers import customer_routes
from .admin.devices import device_routes
from .admin.keys import key_routes
from .admin.login import login_routes, session_check_routes
from .admin.topup import topup_routes
from .admin.usage import usage_routes
from .chat import chat_routes
from .connection import Connection
from .core import Core
from .edge import Edge, origins_of
from .health import health_routes
from .user.session import session_routes


class Application(Quart):
    """Quart with a cheaper exchange, and with the edge called directly: it is the only thing around a request."""

    asgi_http_class = Connection

    def __init__(self, edge: Edge) -> None:
        super().__init__("kaixu", static_folder=None)
        self.edge = edge

    async def preprocess_request(self, request_context: Any = None) -> Any:
        """See `Edge.begin`."""
        return self.edge.begin(current_request())

    async def process_response(self, response: Any, request_context: Any = None) -> Any:
        """See `Edge.end`."""
        self.edge.end(current_request(), response)
        return response


def current_request() -> Request:
    """The request itself; going through its proxy for every header would cost a look-up each."""
    current: Request = request._get_current_object()  # type: ignore[attr-defined]
    return current


def create_app(core: Core) -> Quart:
    """An application around an opened gateway."""
    app = Application(Edge(origins_of(core.settings.allowed_origins, core.gateway.allow_origins)))
    app.config["MAX_CONTENT_LENGTH"] = core.gateway.body_limit_bytes
    app.config["BODY_TIMEOUT"] = None  # `Connection` has read the body, within its own time
    app.config["RESPONSE_TIMEOUT"] = None
    app.url_map.strict_slashes = False
    errors.install(app, core.monitor)
    for make in (
        chat_routes,
        health_routes,
        session_routes,
        login_routes,
        session_check_routes,
        customer_routes,
        key_routes,
        usage_routes,
        topup_routes,
        device_routes,
    ):
        app.register_blueprint(make(core))
    return app
