"""Looks at another server: one GET, bounded in time, size and redirects.

The address is the operator's, so it may be private; what a redirect names is the server's choice, so it may not, unless
kaixu.yaml allows it. A redirect to the same scheme, host and port reaches nothing new. Errors are words of ours.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urljoin, urlsplit

from kaixu import __version__
from kaixu.config.gateway_section import JobsSection
from kaixu.config.web_address import MOST_ADDRESS
from kaixu.ops.late_import import ready
from kaixu.store.remote_checks import MOST_TURNS

from .webhook_guard import PRIVATE_ADDRESS, AddressGuard

if TYPE_CHECKING:
    import aiohttp

#: The time for a look, with its redirects.
PATIENCE_S = 10.0

MOST_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: The longest reply that is read.
MOST_BYTES = 64 * 1024

PRIVATE, PUBLIC = JobsSection(webhook_private=True), JobsSection(webhook_private=False)
NO_HEADERS: Mapping[str, str] = {}
PLAIN = {"accept-encoding": "identity"}


class Found(NamedTuple):
    """What a server answered. `error`: why it did not; then there is no body."""

    status: int | None
    ms: int
    error: str | None
    body: bytes = b""


class LookFailed(Exception):
    """A look that found no answer; the message is for operators."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RemoteLooks:
    """Connections for looks; `private_redirects`: redirects may lead to private addresses."""

    def __init__(self, *, private_redirects: bool) -> None:
        self.own = AddressGuard(lambda: PRIVATE)
        self.redirected = AddressGuard(lambda: PRIVATE if private_redirects else PUBLIC)

    async def __aenter__(self) -> Self:
        await ready("aiohttp")
        self.sessions = {id(guard): session_of(guard) for guard in (self.own, self.redirected)}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self.sessions.values():
            await session.close()

    async def look(self, url: str, *, headers: Mapping[str, str] = NO_HEADERS, with_body: bool = False) -> Found:
        """GET `url`, following redirects. `headers` go to its own scheme, host and port only."""
        began = monotonic()

        def elapsed_ms() -> int:
            return round((monotonic() - began) * 1000)

        try:
            async with asyncio.timeout(PATIENCE_S):
                status, body = await self.follow(url, headers, with_body)
        except TimeoutError:
            return Found(None, elapsed_ms(), f"no reply within {PATIENCE_S:g} s")
        except LookFailed as error:
            return Found(error.status, elapsed_ms(), str(error))
        except Exception as error:  # noqa: BLE001 - the server's behaviour can raise anything in the HTTP library
            return Found(None, elapsed_ms(), words_of(error))
        return Found(status, elapsed_ms(), None if 200 <= status < 300 else f"HTTP {status}", body)

    async def follow(self, url: str, headers: Mapping[str, str], with_body: bool) -> tuple[int, bytes]:
        """The status and the body at the end of the redirects. Raises `LookFailed`, and what aiohttp raises."""
        at, guard = url, self.own
        for _ in range(MOST_REDIRECTS + 1):
            is_own = origin_of(at) == origin_of(url)
            async with self.get(guard, at, headers if is_own else NO_HEADERS) as response:
                if response.status not in REDIRECTS or "location" not in response.headers:
                    return response.status, await body_of(response) if with_body else b""
                status, at = response.status, next_address(at, response.headers["location"], response.status)
            guard = self.own if origin_of(at) == origin_of(url) else self.redirected
            if (refusal := guard.refusal(at)) is not None:
                raise LookFailed(f"it redirects, and {refusal}", status)
        raise LookFailed(f"it redirects more than {MOST_REDIRECTS} times", status)

    @asynccontextmanager
    async def get(
        self, guard: AddressGuard, url: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request."""
        async with self.sessions[id(guard)].get(url, headers=headers, allow_redirects=False) as response:
            yield response


def session_of(guard: AddressGuard) -> aiohttp.ClientSession:
    """Connections through one guard. What is compressed is not read: a few bytes could become gigabytes."""
    import aiohttp

    return aiohttp.ClientSession(
        connector=guard.connector(limit=MOST_TURNS),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={
            "user-agent": f"kaixu/{__version__}",
            "accept": "application/json, */*",
            "accept-encoding": "identity",
        },
    )


def next_address(at: str, location: str, status: int) -> str:
    """Where a redirect leads. Raises `LookFailed` for what is not a web address."""
    try:
        target = urljoin(at, location)
        parts = urlsplit(target)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        good = good and parts.username is None and len(target) <= 4 * MOST_ADDRESS
    except ValueError:
        good = False
    if not good:
        raise LookFailed("it redirects to something that is not a web address", status)
    return target


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


async def body_of(response: aiohttp.ClientResponse) -> bytes:
    """The body. Raises `LookFailed` for one that is too long."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MOST_BYTES:
            raise LookFailed(f"its reply is longer than {MOST_BYTES} bytes", response.status)
    return bytes(body)


def words_of(error: BaseException) -> str:
    """What went wrong, without anything that the server or its name said."""
    import aiohttp

    causes = causes_of(error)
    if any(str(cause) == PRIVATE_ADDRESS for cause in causes):
        return f"it redirects, and {PRIVATE_ADDRESS}"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "its name is not known"
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return "its certificate is not valid"
    if any(isinstance(cause, ssl.SSLError | aiohttp.ClientConnectorSSLError) for cause in causes):
        return "no secure connection"
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return f"no reply within {PATIENCE_S:g} s"
    if any(isinstance(cause, aiohttp.ClientConnectorError | ConnectionRefusedError) for cause in causes):
        return "no connection"
    if any(isinstance(cause, aiohttp.ClientConnectionError | ConnectionError) for cause in causes):
        return "the connection broke"
    return "its reply is not HTTP"


def causes_of(error: BaseException) -> list[BaseException]:
    """An error and all that led to it."""
    causes: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in causes:
        causes.append(at)
        at = at.__cause__ or at.__context__ or getattr(at, "os_error", None)
    return causes
