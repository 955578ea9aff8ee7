"""Calls of the gateway's own API, without a connection: pages use the same endpoints as everybody.

So access, validation, limits, audit and figures are those of the API, whatever page asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from kaixu.edge.callers import Callers
from kaixu.edge.errors import Failures
from kaixu.edge.request import IncomingRequest, UploadSource
from kaixu.edge.response import Reply
from kaixu.edge.routes import Routes
from kaixu.edge.sse import EventStream

#: A value of a query; None is left out, and true is `true`.
QueryValue = str | int | bool | None


class ApiFailure(Exception):
    """A reply of the API with a status of 400 or above."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.message = text_of(body, "error") or "the gateway could not do this"
        self.code = text_of(body, "code") or "INTERNAL"
        self.hint = text_of(body, "hint")
        self.field = text_of(body, "field")
        self.request_id = text_of(body, "request_id")
        super().__init__(self.message)


class ApiRoutes:
    """The routes of the API, and the check of callers that the edge makes before it calls a handler."""

    def __init__(self, routes: Routes, callers: Callers) -> None:
        self.routes = routes
        self.callers = callers
        self.failures = Failures()


class Api:
    """The API as the visitor of a page sees it. `credential`: the `authorization` of a customer; operators have their
    session in the cookie, which the requests keep.
    """

    def __init__(self, routes: ApiRoutes, request: IncomingRequest, credential: str | None = None) -> None:
        self.routes = routes
        self.request = request
        self.credential = credential

    async def get(self, name: str, /, **query: QueryValue) -> Any:
        """The JSON of a GET. Raises `ApiFailure`."""
        return json_of(await self.reply("GET", name, query=query))

    async def send(self, method: str, name: str, body: Mapping[str, Any] | None = None, /, **query: QueryValue) -> Any:
        """The JSON of a request with a body. Raises `ApiFailure`."""
        return json_of(await self.reply(method, name, query=query, body=body))

    async def send_as(self, credential: str, method: str, name: str) -> Any:
        """The JSON of a request with another credential, such as a key that somebody signs in with."""
        return json_of(await self.reply(method, name, headers={"authorization": credential}))

    async def reply(
        self,
        method: str,
        name: str,
        *,
        query: Mapping[str, QueryValue] | None = None,
        body: Mapping[str, Any] | None = None,
        raw_body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        upload: UploadSource | None = None,
    ) -> Reply:
        """The reply of an endpoint: `name` is a function (`admin-customers`), or a path that begins with a slash.

        `upload`: a body that the handler reads itself, on routes for uploads.

        Raises `ApiFailure` for a status of 400 or above.
        """
        path = name if name.startswith("/") else f"/api/{name}"
        route, parameters = self.routes.routes.find(method, path)
        content = raw_body if raw_body is not None else b"" if body is None else msgspec.json.encode(body)
        inner = msgspec.structs.replace(
            self.request,
            method=method,
            path=path,
            query=query_text(query or {}),
            headers=self.headers_of(headers or {}),
            body=content,
            parameters=parameters,
            upload=upload,
        )
        try:
            self.routes.callers.require(route.auth, inner.headers)
            if route.rate == "reading":
                await self.routes.callers.count_reading(inner, len(content))
            reply = await route.handler(inner)
        except Exception as error:  # noqa: BLE001 - every exception becomes an error reply, as at the edge
            reply = self.routes.failures.reply(error, inner)
        if reply.status >= 400:
            raise ApiFailure(reply.status, json_of(reply), reply.headers)
        return reply

    def headers_of(self, more: Mapping[str, str]) -> dict[str, str]:
        """The headers of an inner request: those of the page's, with the credential of its session only."""
        kept = {name: value for name, value in self.request.headers.items() if name not in DROPPED}
        if self.credential is not None:
            kept.pop("cookie", None)
            kept["authorization"] = self.credential
        return kept | dict(more)


#: Headers of a page's request that say nothing about the inner one, or would be a second credential.
DROPPED = frozenset(
    {"authorization", "x-api-key", "x-admin-password", "content-length", "content-type", "content-encoding", "accept"}
)


def query_text(query: Mapping[str, QueryValue]) -> str:
    """A query string; values that are None are left out, empty ones too: a filter that is not set."""
    pairs = {
        name: ("true" if value else "false") if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None and value != ""
    }
    return urlencode(pairs)


def json_of(reply: Reply) -> Any:
    """The JSON of a reply; an object without fields for one that has none."""
    if isinstance(reply.body, EventStream):
        raise TypeError("a stream is not JSON")
    if not reply.body or "json" not in reply.headers.get("content-type", ""):
        return {}
    return msgspec.json.decode(reply.body)


def text_of(body: Mapping[str, Any], name: str) -> str:
    """A text of an error's body; empty where it has none."""
    value = body.get(name) if isinstance(body, Mapping) else None
    return value if isinstance(value, str) else ""
