"""A gateway's application with Quart's test client, which calls it without a server."""

from __future__ import annotations

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Quart

from kaixu.gateway.app import Application


class TestedApplication(Quart):
    """An application of a gateway; Quart brings nothing but the client."""

    __test__ = False  # for pytest: this is no test

    def __init__(self, application: Application) -> None:
        super().__init__("kaixu", static_folder=None)
        self.application = application
        self.exchange = application.exchange

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Pass everything to the gateway's application."""
        await self.application(scope, receive, send)
