"""The Quart application: the API's routes behind the edge. `process.py` opens the services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quart import Quart

from kaixu.api.callbacks import Callbacks, callback_routes
from kaixu.api.operations import OperationRoutes
from kaixu.api.routes import PREFIX_SHAPES, api_routes
from kaixu.config.gateway_section import GatewaySection
from kaixu.edge.callers import GatewayCallers
from kaixu.edge.client_address import AddressHash
from kaixu.edge.cors import ReplyHeaders, parse_origins
from kaixu.edge.errors import Failures
from kaixu.edge.exchange import BodyLimits, Exchange
from kaixu.edge.routes import Routes
from kaixu.edge.services import Services
from kaixu.ops.request_end import RequestListener
from kaixu.web.api_calls import ApiRoutes
from kaixu.web.not_found import not_found_pages
from kaixu.web.public.callback_page import question_pages
from kaixu.web.public.operation_page import operation_pages
from kaixu.web.routes import web_routes
from kaixu.web.site import Site

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope


class Application(Quart):
    """A Quart application whose requests are served by the edge, directly from ASGI."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__("kaixu", static_folder=None)
        self.exchange = exchange

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Pass requests to the exchange, and the server's lifespan events to Quart."""
        if scope["type"] == "http":
            await self.exchange.serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await self.exchange.refuse_websocket(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def apply_settings(self, services: Services) -> None:
        """Apply reloaded settings: CORS origins. Other settings are read for each request."""
        origins = parse_origins(services.settings.allowed_origins, services.gateway.allow_origins)
        self.exchange.writer.headers.allow_origins(origins)


def create_app(services: Services, listeners: Sequence[RequestListener] = ()) -> Application:
    """Create the application for an opened gateway. `listeners`: see `Exchange`."""

    limits_of: tuple[GatewaySection, BodyLimits] | None = None  # asked for several times in each request

    def limits() -> BodyLimits:
        nonlocal limits_of
        section = services.current.section
        if limits_of is None or limits_of[0] is not section:
            # There is always room for one body of the maximum size.
            memory_bytes = max(section.body_memory_bytes, section.body_limit_bytes)
            limits_of = section, BodyLimits(section.body_limit_bytes, memory_bytes, section.stall_s)
        return limits_of[1]

    callers = GatewayCallers(services)
    callbacks = Callbacks(services)
    api = [*api_routes(services), *callback_routes(callbacks)]
    operations = OperationRoutes(services)
    site = Site(services, ApiRoutes(Routes(api, reloaded=operations), callers))
    operations.render_page = callbacks.render_page = operation_pages(site)
    callbacks.render_question = question_pages(site)
    exchange = Exchange(
        Routes([*api, *web_routes(site)], PREFIX_SHAPES, not_found_pages(site), operations),
        callers,
        ReplyHeaders(frozenset()),
        Failures(),
        limits,
        services.settings.trusted_networks,
        listeners=listeners,
        is_stopping=lambda: services.gate.calls.stopping,
        hash_address=AddressHash(services.secrets.key_pepper.encode()).hash,
    )
    app = Application(exchange)
    app.apply_settings(services)
    return app
