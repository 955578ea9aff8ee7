"""The wire: a ticket's connection to vendors. Limits times, retries before the first byte, closes with the ticket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from time import monotonic
from types import TracebackType

import httpx
import tenacity

from kaixu.ops.trace_context import TraceContext
from kaixu.plugin.deadline import Deadline, within
from kaixu.plugin.errors import (
    KaixuError,
    TicketClosed,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)
from kaixu.plugin.keys import label_of, signed_with
from kaixu.plugin.refusals import refusal, retry_after
from kaixu.plugin.request_headers import has_header, set_header
from kaixu.plugin.vendor_words import redacted

from .connections import WireProgress
from .prompt_words import without_prompt
from .sent_secrets import secrets_in
from .vendor_response import PacedStream, bounded_response

log = logging.getLogger(__name__)

#: The longest `retry-after` of a vendor that the wire waits for; longer ones go to the client.
LONGEST_WAIT_S = 5.0

#: How much of a refusal's body is read, and for how long.
MOST_REFUSAL_BYTES = 16 * 1024
LONGEST_READING_S = 1.0

#: How many notes one call keeps, and how many characters of each.
MOST_NOTES = 10
MOST_NOTE = 200

#: Raised when no connection was made, or none was needed to see that the request cannot be sent.
UNREACHED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.LocalProtocolError)


class WireLimits:
    """How long a vendor may take, in seconds, and how often a request is sent again."""

    __slots__ = ("between_bytes_s", "connect_s", "extensions", "first_byte_s", "retries", "total_s")

    def __init__(
        self, *, connect_s: float, first_byte_s: float, between_bytes_s: float, total_s: float, retries: int
    ) -> None:
        self.connect_s = connect_s
        self.first_byte_s = first_byte_s
        self.between_bytes_s = between_bytes_s
        self.total_s = total_s
        self.retries = retries
        # The transport has one limit for all reads; `attempt` or `PacedStream` enforces the shorter of the two.
        read_s = max(first_byte_s, between_bytes_s)
        self.extensions = {"timeout": {"connect": connect_s, "read": read_s, "pool": None}}


class TicketWire:
    """The wire of one ticket."""

    __slots__ = (
        "closed",
        "has_finished",
        "lent_secrets",
        "limits",
        "maybe_accepted",
        "notes",
        "opened_at",
        "private_texts",
        "request_id",
        "sent_headers",
        "trace",
        "transport",
        "tries",
    )

    def __init__(self, transport: httpx.AsyncBaseTransport, limits: WireLimits, request_id: str | None = None) -> None:
        self.transport = transport
        self.limits = limits
        self.request_id = request_id
        self.trace: TraceContext | None = None
        self.opened_at = monotonic()
        self.closed = False
        self.maybe_accepted = 0  # tries that a vendor has accepted, or may have
        self.tries = 0
        self.sent_headers: list[tuple[bytes, bytes]] = []  # of all tries; a vendor may quote the secrets in them
        self.lent_secrets: set[str] = set()  # customers' secrets that the call has used, wherever it sends them
        self.private_texts: Callable[[], Iterable[str]] = tuple  # the request's own texts; a vendor may quote them, too
        self.has_finished = False  # the vendor has given a finish reason; its usage may still come
        self.notes: dict[str, None] = {}  # oddities in the vendor's answers, each text once

    def finished(self) -> None:
        """See `kaixu.plugin.Wire.finished`."""
        self.has_finished = True

    def note(self, what: str) -> None:
        """See `kaixu.plugin.Wire.note`."""
        if len(self.notes) < MOST_NOTES:
            self.notes[what[:MOST_NOTE]] = None

    @property
    def used(self) -> bool:
        """Whether a vendor may have worked on what was sent. One that was not reached or that refused has not."""
        return self.maybe_accepted > 0

    def secrets(self) -> set[str]:
        """The secrets that went out, or may have, for errors alone: most calls need none."""
        return secrets_in(self.sent_headers) | self.lent_secrets

    def clean(self, error: BaseException | None) -> None:
        """Remove secrets and the request's own texts from the vendor's message."""
        if isinstance(error, UpstreamError) and error.vendor_words is not None:
            error.vendor_words = without_prompt(redacted(error.vendor_words, self.secrets()), self.private_texts())

    def send(self, request: httpx.Request) -> Sending:
        """See `kaixu.plugin.Wire.send`."""
        return Sending(self, request)

    def for_try(self, limits: WireLimits) -> MeteredWire:
        """The wire for one try, with limits of its own."""
        self.has_finished = False
        return MeteredWire(self, limits)

    def close(self) -> None:
        """Send nothing more."""
        self.closed = True

    async def exchange(
        self, request: httpx.Request, limits: WireLimits | None = None, try_wire: MeteredWire | None = None
    ) -> httpx.Response:
        """Send, with retries where they may help, until a vendor accepts. `try_wire`: the wire of the try, if any."""
        limits = limits or self.limits
        try:
            return await self.attempt(request, limits, try_wire)
        except KaixuError as error:
            if limits.retries == 0 or not is_retryable(error):
                raise
            failure = error

        first = True

        async def again() -> httpx.Response:
            nonlocal first
            if first:
                first = False
                raise failure  # counts as the first try, so that its retry-after is honoured
            return await self.attempt(request, limits, try_wire)

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(limits.retries + 1),
            wait=wait_for,
            retry=tenacity.retry_if_exception(is_retryable),
            reraise=True,
        )
        return await retrying(again)

    def count(self, change: int, try_wire: MeteredWire | None) -> None:
        """Change the number of exchanges that a vendor has accepted, or may have."""
        self.maybe_accepted += change
        if try_wire is not None:
            try_wire.maybe_accepted += change

    def transport_to(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        """The connections for a request to `url`."""
        return self.transport

    async def attempt(
        self,
        request: httpx.Request,
        limits: WireLimits,
        try_wire: MeteredWire | None = None,
        accept: Collection[int] = (),
    ) -> httpx.Response:
        """Send once. Raises an `UpstreamError` for anything but success and the statuses in `accept`."""
        if self.closed:
            raise TicketClosed("the call has been settled; its wire is closed")
        transport = self.transport_to(request.url)
        key = signed_with(request)
        self.sent_headers += request.headers.raw
        self.count(1, try_wire)
        self.tries += 1
        progress = WireProgress()
        request.extensions = {**request.extensions, **limits.extensions, "progress": progress}
        set_header(request.headers, b"accept-encoding", "identity")
        if self.request_id is not None and not has_header(request.headers, b"x-client-request-id"):
            set_header(request.headers, b"x-client-request-id", self.request_id)
        if self.trace is not None:
            request.headers.update(self.trace.child_headers())
        first_by = asyncio.get_running_loop().time() + limits.first_byte_s
        try:
            if limits.first_byte_s < limits.between_bytes_s:
                with Deadline(first_by):
                    response = await transport.handle_async_request(request)
            else:  # the transport's own limit applies
                response = await transport.handle_async_request(request)
        except BaseException as error:
            if progress.connecting or isinstance(error, UNREACHED):
                self.count(-1, try_wire)
            if isinstance(error, TimeoutError):
                raise UpstreamTimeout(f"the vendor did not answer within {limits.first_byte_s:g} s") from error
            if isinstance(error, httpx.HTTPError):
                raise upstream_error(error) from error
            raise
        status = response.status_code
        if 200 <= status < 300 or status in accept:
            if is_refusal(status):
                self.count(-1, try_wire)
            elif key is not None:
                key.accepted()
            if limits.first_byte_s > limits.between_bytes_s:
                assert isinstance(response.stream, httpx.AsyncByteStream)
                response.stream = PacedStream(response.stream, first_by, limits.between_bytes_s)
            try:
                return bounded_response(response, request)
            except UpstreamError:
                await response.aclose()
                raise
        self.count(-1, try_wire)
        try:
            body = await beginning_of_body(response)
        finally:
            await response.aclose()
        wait_s = retry_after(response.headers)
        refused = refusal(status, wait_s, body, self.secrets())
        refused.told_wait_s = wait_s
        if key is not None:
            key.refused(refused)
        raise refused


class MeteredWire:
    """The ticket's wire for one try. Closed after the try, even if a plugin still holds it."""

    __slots__ = ("closed", "key", "limits", "maybe_accepted", "wire")

    def __init__(self, wire: TicketWire, limits: WireLimits) -> None:
        self.wire = wire
        self.limits = limits
        self.closed = False
        self.key: str | None = None  # the label of the key that was accepted, where the lane has several
        self.maybe_accepted = 0

    @property
    def used(self) -> bool:
        """See `TicketWire.used`; of this try alone."""
        return self.maybe_accepted > 0

    def send(self, request: httpx.Request) -> Sending:
        """See `kaixu.plugin.Wire.send`."""
        return Sending(self, request)

    def finished(self) -> None:
        """See `kaixu.plugin.Wire.finished`."""
        if not self.closed:
            self.wire.finished()

    def note(self, what: str) -> None:
        """See `kaixu.plugin.Wire.note`."""
        self.wire.note(what)

    def close(self) -> None:
        """Send nothing more through this wire."""
        self.closed = True

    async def exchange(self, request: httpx.Request) -> httpx.Response:
        """See `TicketWire.exchange`."""
        if self.closed:
            raise TicketClosed("the try is over; its wire is closed")
        response = await self.wire.exchange(request, self.limits, self)
        self.key = label_of(request)
        return response


class Sending:
    """One exchange, as a context: inside it the response can be read; leaving it closes the response."""

    __slots__ = ("request", "response", "wire")

    def __init__(self, wire: TicketWire | MeteredWire, request: httpx.Request) -> None:
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


async def beginning_of_body(response: httpx.Response) -> bytes:
    """The beginning of a refusal's body, as much of it as comes at once; empty if it is compressed."""
    if response.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        return b""
    body = bytearray()
    try:
        with within(LONGEST_READING_S):
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for piece in response.stream:
                body += piece[: MOST_REFUSAL_BYTES - len(body)]
                if len(body) >= MOST_REFUSAL_BYTES:
                    break
    except (TimeoutError, httpx.HTTPError, OSError):
        pass  # the status and what has come are enough
    return bytes(body)


def is_refusal(status: int) -> bool:
    """Whether a status that a caller accepts says all the same that the vendor has not worked on the request.

    Any other accepted answer counts as used: the vendor has looked at the request, a "not found" is what the call was
    for, and the customer pays for it as for any other answer.
    """
    return status in (401, 402, 403, 407, 408, 425, 429) or status >= 500


def upstream_error(error: httpx.HTTPError) -> UpstreamError:
    """The `UpstreamError` for a failure of the connection."""
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimeout("the vendor did not answer in time")
    if isinstance(error, UNREACHED):
        return UpstreamError("the vendor could not be reached")
    return UpstreamError("the connection to the vendor broke")


def vendor_named_wait(error: BaseException) -> bool:
    """Whether the vendor itself named the time to wait."""
    return not isinstance(error, UpstreamBusy) or error.wait_told


def is_retryable(error: BaseException) -> bool:
    """Whether the same request may well succeed a moment later."""
    if not isinstance(error, UpstreamError) or isinstance(error, UpstreamRejected):
        return False
    if error.another_key:
        return True
    if error.hint is not None:  # the credential, or a status that says "never"
        return False
    return error.retry_after_s is None or error.retry_after_s <= LONGEST_WAIT_S


def wait_for(state: tenacity.RetryCallState) -> float:
    """The vendor's `retry-after` if it sent one, else a growing pause with jitter; in seconds."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, UpstreamError) and error.another_key:
        return 0.0
    if isinstance(error, KaixuError) and error.retry_after_s is not None and vendor_named_wait(error):
        return float(error.retry_after_s)
    return float(tenacity.wait_random_exponential(multiplier=0.2, max=LONGEST_WAIT_S)(state))
