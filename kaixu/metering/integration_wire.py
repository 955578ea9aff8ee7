"""The wire of an integration's call: declared hosts, answers of every status, retries, counted bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

import httpx

from kaixu.plugin.blob import Blob, BlobBody, prepare_blob_body
from kaixu.plugin.errors import KaixuError, TicketClosed, UpstreamError
from kaixu.plugin.origins import Hosts
from kaixu.plugin.own_thread import ThreadWire
from kaixu.plugin.tries import (
    ONCE,
    Accept,
    Tries,
    accepted_statuses,
    answer_too_large,
    require_most_bytes,
    with_tries,
)

from .charges import Meter
from .vendor_response import VendorResponse
from .wire import Sending, TicketWire, WireLimits

#: The unit of the bodies that vendors have accepted.
BYTES_SENT = "bytes_sent"


class BlobReader(Protocol):
    """Reads the blobs that a call may use."""

    def read(self, blob: Blob, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `kaixu.plugin.Call.chunks`."""
        ...


class IntegrationWire(TicketWire):
    """See `kaixu.plugin.IntegrationWire`. `public`: connections that reach public addresses only."""

    __slots__ = ("begun", "blobs", "hosts", "meter", "on_its_way", "public")

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        public: httpx.AsyncBaseTransport,
        limits: WireLimits,
        request_id: str | None,
        *,
        hosts: Hosts,
        meter: Meter,
    ) -> None:
        super().__init__(transport, limits, request_id)
        self.public = public
        self.hosts = hosts
        self.meter = meter
        self.on_its_way = 0  # bytes of requests that vendors have not answered yet
        self.blobs: BlobReader | None = None
        self.begun: float | None = None  # when its handler began, in the event loop's time

    def begin(self) -> None:
        """The handler begins: from now on its time limit runs."""
        self.begun = asyncio.get_running_loop().time()

    def paused(self, seconds: float) -> None:
        """The time limit of the handler did not run for so long."""
        if self.begun is not None:
            self.begun += seconds

    def send(
        self,
        request: httpx.Request,
        *,
        accept: Accept = (),
        tries: Tries = ONCE,
        timeout_s: float | None = None,
        most_bytes: int | None = None,
    ) -> IntegrationSending:
        """See `kaixu.plugin.IntegrationWire.send`."""
        prepare_blob_body(request)
        require_most_bytes(most_bytes)
        limits = self.limits_of_try(timeout_s)
        return IntegrationSending(self, request, accepted_statuses(accept), tries, limits, most_bytes)

    def body(self, blobs: Blob | Sequence[Blob]) -> BlobBody:
        """See `kaixu.plugin.IntegrationWire.body`."""
        assert self.blobs is not None
        return BlobBody([blobs] if isinstance(blobs, Blob) else blobs, self.blobs.read)

    def may_send_to(self, url: str) -> bool:
        """See `kaixu.plugin.IntegrationWire.may_send_to`."""
        try:
            return self.hosts.allow(httpx.URL(url))
        except (httpx.InvalidURL, ValueError):
            return False

    def blocking(self) -> ThreadWire:
        """See `kaixu.plugin.IntegrationWire.blocking`."""
        return ThreadWire(self)

    def transport_to(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        """The connections for a request to `url`. Raises `HostNotDeclared`."""
        self.hosts.require(url)
        return self.transport if self.hosts.names(url) else self.public

    def limits_of_try(self, timeout_s: float | None) -> WireLimits:
        """The wire's limits, with another time until the answer begins."""
        own = self.limits
        if timeout_s is None or timeout_s >= own.first_byte_s:
            return own
        return WireLimits(
            connect_s=min(own.connect_s, timeout_s),
            first_byte_s=timeout_s,
            between_bytes_s=own.between_bytes_s,
            total_s=own.total_s,
            retries=0,
        )

    async def pause(self, seconds: float) -> bool:
        """Wait before another try. False, at once, if the handler's time is over before the try could begin."""
        now = asyncio.get_running_loop().time()
        begun = now if self.begun is None else self.begun
        if now + seconds >= begun + self.limits.total_s:
            return False
        await asyncio.sleep(seconds)
        return True

    async def exchange_metered(
        self, request: httpx.Request, limits: WireLimits, accept: Collection[int], most_bytes: int | None
    ) -> httpx.Response:
        """Send once. Its bytes count where the vendor accepts them, which only a 2xx says."""
        body = SentBody(request, self)
        try:
            response = await self.attempt(request, limits, accept=accept)
            if 200 <= response.status_code < 300 and body.size and not self.closed:
                self.meter.count(BYTES_SENT, body.size)
        except UpstreamError as error:
            if body.failure is not None:  # for the connection it was a body that broke off
                raise body.failure from error
            raise
        finally:
            self.on_its_way -= body.size
            body.restore()
        if self.closed:
            await response.aclose()
            raise TicketClosed("the call has been settled; its wire is closed")
        assert isinstance(response, VendorResponse)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = LentStream(response.stream, self, most_bytes)
        if most_bytes is not None:
            response.most_bytes = min(most_bytes, response.most_bytes)
        return response

    def require_room(self, size: int) -> None:
        """Raises `TooLarge` if `size` more bytes would exceed the charge's `most`."""
        self.meter.require_room(BYTES_SENT, self.on_its_way + size)
        self.on_its_way += size


class IntegrationSending(Sending):
    """One exchange, with its tries."""

    __slots__ = ("accept", "limits", "metered", "most_bytes", "tries")

    def __init__(
        self,
        wire: IntegrationWire,
        request: httpx.Request,
        accept: Collection[int],
        tries: Tries,
        limits: WireLimits,
        most_bytes: int | None,
    ) -> None:
        super().__init__(wire, request)
        self.metered = wire
        self.accept = accept
        self.tries = tries
        self.limits = limits
        self.most_bytes = most_bytes

    async def __aenter__(self) -> httpx.Response:
        async def send() -> httpx.Response:
            return await self.metered.exchange_metered(self.request, self.limits, self.accept, self.most_bytes)

        self.response = await with_tries(self.request, self.tries, send, self.metered.pause)
        return self.response


class SentBody(httpx.AsyncByteStream):
    """The body of one try, and its size as far as it was read. Raises `TooLarge` where there would be no room for it.

    A body in memory, or in blobs, is counted as a whole before anything is sent.
    """

    def __init__(self, request: httpx.Request, wire: IntegrationWire) -> None:
        self.wire = wire
        self.request = request
        self.size = 0
        self.is_counted = False
        self.failure: KaixuError | None = None
        self.stream = request.stream
        if isinstance(self.stream, httpx.ByteStream):
            self.take(len(request.read()))
        else:
            if isinstance(self.stream, BlobBody):
                self.take(self.stream.size)
                self.is_counted = True
            request.stream = self

    def restore(self) -> None:
        """The try is over: the request has its own body again."""
        self.request.stream = self.stream

    def take(self, size: int) -> None:
        """Count `size` more bytes."""
        self.wire.require_room(size)
        self.size += size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self.stream, httpx.AsyncByteStream)
        try:
            async for piece in self.stream:
                if not self.is_counted:
                    self.take(len(piece))
                yield piece
        except KaixuError as error:
            self.failure = error
            raise

    async def aclose(self) -> None:
        if isinstance(self.stream, httpx.AsyncByteStream):
            await self.stream.aclose()


class LentStream(httpx.AsyncByteStream):
    """The body of a response. Raises `TicketClosed` after the call, `UpstreamError` beyond `most_bytes`."""

    def __init__(self, stream: httpx.AsyncByteStream, wire: IntegrationWire, most_bytes: int | None) -> None:
        self.stream = stream
        self.wire = wire
        self.most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self.stream:
            if self.wire.closed:
                raise TicketClosed("the call has been settled; its wire is closed")
            size += len(piece)
            if self.most_bytes is not None and size > self.most_bytes:
                raise answer_too_large(self.most_bytes)
            yield piece

    async def aclose(self) -> None:
        await self.stream.aclose()
