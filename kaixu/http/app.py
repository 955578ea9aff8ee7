"""The Quart application: blueprints, edge, errors. What it serves with is opened elsewhere (`kaixu/cli/serve.py`)."""

from __future__ import annotations

from quart import Quart

from . import edge, errors
from .chat import chat_routes
from .core import Core
from .health import health_routes


def create_app(core: Core) -> Quart:
    """An application around an opened gateway."""
    app = Quart("kaixu", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = core.gateway.body_limit_bytes
    app.config["BODY_TIMEOUT"] = 60
    app.config["RESPONSE_TIMEOUT"] = None
    app.url_map.strict_slashes = False
    edge.install(app, edge.origins_of(core.settings.allowed_origins, core.gateway.allow_origins))
    errors.install(app, core.monitor)
    for make in (
        chat_routes,
        health_routes,
    ):
        app.register_blueprint(make(core))
    return app
