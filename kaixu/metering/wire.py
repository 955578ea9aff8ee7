"""The lent way out: timed, retried before the first byte, and dead once the ticket is settled."""

from __future__ import annotations

import asyncio
import logging
from email.utils import parsedate_to_datetime
from time import time
from types import TracebackType

import aiohttp
import httpx
import tenacity
from httpx_aiohttp import AiohttpTransport

from kaixu.plugin.errors import (
    KaixuError,
    TicketClosed,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)

log = logging.getLogger(__name__)

#: The longest a vendor's `retry-after` makes us wait before the next try; longer ones go to the client.
LONGEST_WAIT_S = 5.0
RETRIED_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
REJECTED_STATUSES = frozenset({400, 404, 413, 415, 422})


class Limits:
    """How long a vendor may take, in seconds, and how often it is asked again."""

    __slots__ = ("between_bytes_s", "connect_s", "extensions", "first_byte_s", "retries", "total_s")

    def __init__(
        self, *, connect_s: float, first_byte_s: float, between_bytes_s: float, total_s: float, retries: int
    ) -> None:
        self.connect_s = connect_s
        self.first_byte_s = first_byte_s
        self.between_bytes_s = between_bytes_s
        self.total_s = total_s
        self.retries = retries
        self.extensions = {"timeout": {"connect": connect_s, "read": between_bytes_s, "pool": None}}


def open_transport() -> AiohttpTransport:
    """The one pool of connections to all vendors: no cookies, no proxy surprises, no compression asked for."""

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=30, ssl=transport.ssl_context),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding", "User-Agent", "Accept", "Content-Type"),
            requote_redirect_url=False,
        )

    transport = AiohttpTransport(client=session)
    return transport


class TicketWire:
    """The wire of one ticket. `used`: something was sent, so the vendor may have worked on it."""

    __slots__ = ("closed", "limits", "transport", "tries", "used")

    def __init__(self, transport: httpx.AsyncBaseTransport, limits: Limits) -> None:
        self.transport = transport
        self.limits = limits
        self.closed = False
        self.used = False
        self.tries = 0

    def send(self, request: httpx.Request) -> Sending:
        """See `kaixu.plugin.Wire.send`."""
        return Sending(self, request)

    def close(self) -> None:
        """From now on nothing goes out."""
        self.closed = True

    async def exchange(self, request: httpx.Request) -> httpx.Response:
        """Send, and send again where that may help, until a vendor accepts."""
        try:
            return await self.attempt(request)
        except KaixuError as error:
            if self.limits.retries == 0 or not worth_retrying(error):
                raise
            failure = error

        first = True

        async def again() -> httpx.Response:
            nonlocal first
            if first:
                first = False
                raise failure  # counts as the first try, so that its retry-after is honoured
            return await self.attempt(request)

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self.limits.retries + 1),
            wait=wait_for,
            retry=tenacity.retry_if_exception(worth_retrying),
            reraise=True,
        )
        return await retrying(again)

    async def attempt(self, request: httpx.Request) -> httpx.Response:
        """Send once. Raises an `UpstreamError` for anything but success."""
        if self.closed:
            raise TicketClosed("the call has been settled; its wire is closed")
        self.used = True
        self.tries += 1
        if not request.extensions:
            request.extensions = self.limits.extensions
        try:
            if self.limits.first_byte_s < self.limits.between_bytes_s:
                async with asyncio.timeout(self.limits.first_byte_s):
                    response = await self.transport.handle_async_request(request)
            else:  # then the limit between two pieces, which the transport keeps, is the narrower one
                response = await self.transport.handle_async_request(request)
        except TimeoutError as error:
            raise UpstreamTimeout(f"the vendor did not answer within {self.limits.first_byte_s:g} s") from error
        except httpx.HTTPError as error:
            raise translated(error) from error
        status = response.status_code
        if 200 <= status < 300:
            return response
        retry_after_s = retry_after(response.headers)
        await response.aclose()
        raise refusal(status, retry_after_s)


class Sending:
    """One exchange, as a context: inside it the response can be read, leaving it closes the connection's use."""

    __slots__ = ("request", "response", "wire")

    def __init__(self, wire: TicketWire, request: httpx.Request) -> None:
        self.wire = wire
        self.request = request
        self.response: httpx.Response | None = None

    async def __aenter__(self) -> httpx.Response:
        self.response = await self.wire.exchange(self.request)
        return self.response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.response is not None:
            await self.response.aclose()


def translated(error: httpx.HTTPError) -> UpstreamError:
    """A failure of the connection, in our words."""
    cause = error.__cause__
    if isinstance(cause, TimeoutError) or (cause is None and isinstance(error, httpx.TimeoutException)):
        return UpstreamTimeout("the vendor did not answer in time")
    if isinstance(error, httpx.ConnectError):
        return UpstreamError("the vendor could not be reached")
    return UpstreamError("the connection to the vendor broke")


def refusal(status: int, retry_after_s: int | None) -> UpstreamError:
    """A vendor's status, in our words; what the vendor wrote stays with us."""
    if status in REJECTED_STATUSES:
        return UpstreamRejected(
            f"the vendor rejected the request ({status})",
            hint="Check the request's fields; trying again will not help.",
        )
    if status == 429:
        return UpstreamBusy("the vendor is over its own limit (429)", retry_after_s=retry_after_s or 5)
    if status in (401, 403):
        return UpstreamError(f"the vendor refused the gateway's credential ({status})", hint="Tell your operator.")
    error = UpstreamError(f"the vendor failed ({status})", retry_after_s=retry_after_s)
    if status in (503, 529):
        error = UpstreamBusy(f"the vendor is overloaded ({status})", retry_after_s=retry_after_s or 5)
    if status not in RETRIED_STATUSES and status < 500:
        error.hint = "Tell your operator."
    return error


def worth_retrying(error: BaseException) -> bool:
    """Whether the same request may well succeed a moment later."""
    if not isinstance(error, UpstreamError) or isinstance(error, UpstreamRejected):
        return False
    if error.hint is not None:  # the credential, or a status that says "never"
        return False
    return error.retry_after_s is None or error.retry_after_s <= LONGEST_WAIT_S


def wait_for(state: tenacity.RetryCallState) -> float:
    """The vendor's `retry-after` where it gave one, else a jittered and growing pause; in seconds."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, KaixuError) and error.retry_after_s is not None:
        return float(error.retry_after_s)
    return float(tenacity.wait_random_exponential(multiplier=0.2, max=LONGEST_WAIT_S)(state))


def retry_after(headers: httpx.Headers) -> int | None:
    """Seconds, from `retry-after-ms` or `retry-after` in both its forms (RFC 9110 §10.2.3); None where unreadable."""
    milliseconds = headers.get("retry-after-ms", "")
    if milliseconds.isdigit():
        return -(-int(milliseconds[:9]) // 1000)
    text = headers.get("retry-after", "")
    if text.isdigit():
        return int(text[:9])
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp() - time()))
    except ValueError:
        return None
