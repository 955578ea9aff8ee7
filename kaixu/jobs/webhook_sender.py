"""Telling of the ends of jobs: signed, a few times, and never to an address inside the operator's own network."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from time import time
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from kaixu.config.gateway_section import JobsSection
from kaixu.config.price import usd
from kaixu.ops.sealing import Sealer
from kaixu.store.job_rows import ToTell, take_webhooks, webhook_done
from kaixu.store.pool import database

from .texts import opened
from .webhook_addresses import address_of, is_inside, leads_inside
from .webhooks import secret_of, signed_headers

log = logging.getLogger(__name__)

#: How long each try waits after the one before; with the last, it is given up.
WAITS_S = (5.0, 30.0, 300.0, 1800.0, 7200.0)
AT_ONCE = 20
TIMEOUT_S = 10.0

INSIDE = "its address is inside a private network"

#: Others do not try it again before that, whatever becomes of this process.
OURS_S = 60.0


class Webhooks:
    """One gateway's share of the telling."""

    def __init__(self, pool: asyncpg.Pool, sealer: Sealer, secret: str, section: Callable[[], JobsSection]) -> None:
        self.pool = pool
        self.sealer = sealer
        self.secret = secret
        self.section = section

    async def round(self) -> None:
        """Tell what is to be told now."""
        with database():
            due = await take_webhooks(self.pool, again_s=OURS_S, most=AT_ONCE)
        if due:
            connector = Guarded(self.section).connector()
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            ) as http:
                await asyncio.gather(*(self.tell(http, one) for one in due))

    async def tell(self, http: aiohttp.ClientSession, one: ToTell) -> None:
        """Tell of one; what goes wrong is tried again later."""
        why = await self.sent(http, one)
        wait_s = None
        if why is not None:
            tries = one.webhook_attempts
            wait_s = WAITS_S[tries - 1] if tries <= len(WAITS_S) else None
            log.warning("the webhook of job %s failed, try %d: %s", one.id, tries, why)
        with database():
            await webhook_done(self.pool, one.id, told=why is None, wait_s=wait_s)

    async def sent(self, http: aiohttp.ClientSession, one: ToTell) -> str | None:
        """Why it was not taken; None if it was."""
        url: str = msgspec.json.decode(opened(self.sealer, one.id, "webhook", one.webhook))
        section = self.section()
        if not section.webhook_private and is_inside(urlsplit(url).hostname or ""):
            return INSIDE
        body = msgspec.json.encode(message_of(one))
        headers = signed_headers(secret_of(self.secret, one.customer_id), one.id, int(time()), body)
        try:
            async with http.post(url, data=body, headers=headers, allow_redirects=False) as response:
                return None if 200 <= response.status < 300 else f"it answered {response.status}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__


def message_of(one: ToTell) -> dict[str, object]:
    """What is said: never a text of the job's."""
    return {
        "type": f"job.{one.status}",
        "timestamp": None if one.completed_at is None else one.completed_at.isoformat(),
        "data": {
            "job_id": str(one.id),
            "kind": one.kind,
            "status": one.status,
            "code": one.error_code,
            "created_at": one.created_at.isoformat(),
            "started_at": None if one.started_at is None else one.started_at.isoformat(),
            "completed_at": None if one.completed_at is None else one.completed_at.isoformat(),
            "usage": {
                "input_tokens": one.input_tokens,
                "output_tokens": one.output_tokens,
                "cost_usd": usd(one.cost_nusd),
            },
        },
    }


class Guarded(AbstractResolver):
    """Looks names up, and passes on no address from inside: what was looked up is what is connected to.

    `connector` decides once more on each address that is connected to, in case the host is an address itself and so
    was never looked up, in whatever form: which forms those are differs from one version of aiohttp to the next.
    """

    def __init__(self, section: Callable[[], JobsSection], resolver: AbstractResolver | None = None) -> None:
        self.section = section
        self.resolver = resolver or aiohttp.ThreadedResolver()

    def connector(self) -> aiohttp.TCPConnector:
        """Connections through this resolver, and to nowhere inside."""
        return aiohttp.TCPConnector(
            resolver=self, socket_factory=self.open_socket, limit=AT_ONCE, force_close=True, use_dns_cache=False
        )

    def is_allowed(self, host: str) -> bool:
        """Whether an address may be connected to; what is no address may not."""
        address = address_of(host)
        return address is not None and (self.section().webhook_private or not leads_inside(address))

    def open_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for one address. Raises `OSError` where it may not be connected to."""
        family, kind, protocol, _, address = info
        if not self.is_allowed(str(address[0])):
            raise OSError(INSIDE)
        return socket.socket(family, kind, protocol)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses. Raises `OSError` where none may be connected to."""
        found = await self.resolver.resolve(host, port, family)
        allowed = [one for one in found if self.is_allowed(one["host"])]
        if not allowed:
            raise OSError(INSIDE)
        return allowed

    async def close(self) -> None:
        """Nothing is kept."""
