"""The HTTP client of the wire: HTTP/1.1 without cookies, proxies, redirects, compression, or anything else on its own.

Decision 0067 says why it is our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import httpx
from aiohappyeyeballs import SocketFactoryType

from .http_head import request_head
from .http_pool import ConnectionPool
from .http_reply import Reply
from .http_resolver import Resolver
from .vendor_response import VendorHeaders, VendorResponse

#: Requests with these methods may be sent again when a connection that was used before turns out to be closed.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

NO_LIMITS: Mapping[str, float | None] = {}
EXTENSIONS = {"http_version": b"HTTP/1.1"}


class HttpTransport(httpx.AsyncBaseTransport):
    """Sends requests over a pool of connections.

    Extensions of a request: `timeout` with `connect` and `read` in seconds, `sni_hostname`, and `progress`, a
    `WireProgress`. Raises subclasses of `httpx.TransportError`, whose messages hold nothing of the request or reply.
    """

    def __init__(self, resolver: Resolver, open_socket: SocketFactoryType | None = None) -> None:
        self.pool = ConnectionPool(resolver, httpx.create_ssl_context(), open_socket)

    async def handle_async_request(self, request: httpx.Request) -> VendorResponse:
        """The reply's head; the body is read from the response."""
        try:
            content: bytes | None = request.content
        except httpx.RequestNotRead:
            if not isinstance(request.stream, httpx.AsyncByteStream):
                raise httpx.LocalProtocolError("a streamed body of a request must be asynchronous") from None
            content = None
        head, length, is_last = request_head(request, None if content is None else len(content))
        url, extensions = request.url, request.extensions
        origin = (url.raw_scheme, url.raw_host, url.port, extensions.get("sni_hostname"))
        limits = extensions.get("timeout", NO_LIMITS)
        read_s = limits.get("read")
        if read_s is None:
            read_s = inf
        has_body = request.method != "HEAD"
        connection = self.pool.take(origin)
        is_reused = connection is not None
        while True:
            if connection is None:
                progress = extensions.get("progress")
                if progress is not None:
                    progress.connecting = True
                connection = await self.pool.open(origin, limits.get("connect"))
                if progress is not None:
                    progress.connecting = False
            reply = Reply(connection, has_body=has_body, read_s=read_s)
            try:
                if content is not None:
                    connection.send(reply, head, content, is_last=is_last)
                else:
                    assert isinstance(request.stream, httpx.AsyncByteStream)
                    connection.send_streamed(reply, head, request.stream, length, is_last=is_last)
                while not reply.has_head:
                    await reply.more()
            except BaseException as error:
                reply.close()
                may_repeat = is_reused and content is not None and request.method in IDEMPOTENT
                if may_repeat and isinstance(error, httpx.ReadError) and not reply.has_bytes:
                    connection, is_reused = None, False
                    continue
                raise
            response = VendorResponse(reply.status, stream=reply, request=request, extensions=EXTENSIONS)
            response.headers = VendorHeaders(reply.headers, is_ascii=reply.is_ascii)
            return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self.pool.aclose()
