"""Connections of customers' webhooks: to public addresses only, unless kaixu.yaml allows private ones."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from kaixu.config.gateway_section import JobsSection
from kaixu.plugin.private_addresses import is_private, is_private_host, parse_host

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

PRIVATE_ADDRESS = "its address is inside a private network"


class AddressGuard:
    """Resolves names and drops private addresses. Connections go to the resolved addresses.

    `connector` checks each address again, because a host that is an address is not resolved; which notations count as
    an address differs between versions of aiohttp. That is imported for the first connection: most gateways need none.
    """

    def __init__(self, section: Callable[[], JobsSection], resolver: AbstractResolver | None = None) -> None:
        self.section = section
        self.resolver = resolver

    def connector(self, *, limit: int) -> aiohttp.TCPConnector:
        """At most `limit` connections, through this resolver, to allowed addresses only."""
        import aiohttp

        if self.resolver is None:
            self.resolver = aiohttp.ThreadedResolver()
        resolver = cast("AbstractResolver", self)
        return aiohttp.TCPConnector(
            resolver=resolver, socket_factory=self.open_socket, limit=limit, force_close=True, use_dns_cache=False
        )

    def refusal(self, url: str) -> str | None:
        """Why nothing may be sent to `url`; None if its host is a name, or an allowed address."""
        if not self.section().webhook_private and is_private_host(urlsplit(url).hostname or ""):
            return PRIVATE_ADDRESS
        return None

    def is_allowed(self, host: str) -> bool:
        """Whether connecting to an address is allowed; False for anything else."""
        address = parse_host(host)
        return address is not None and (self.section().webhook_private or not is_private(address))

    def open_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for one address. Raises `OSError` for a private address."""
        family, kind, protocol, _, address = info
        if not self.is_allowed(str(address[0])):
            raise OSError(PRIVATE_ADDRESS)
        return socket.socket(family, kind, protocol)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The allowed addresses of a name. Raises `OSError` if there are none."""
        assert self.resolver is not None  # since there is a connector
        resolved = await self.resolver.resolve(host, port, family)
        allowed = [result for result in resolved if self.is_allowed(result["host"])]
        if not allowed:
            raise OSError(PRIVATE_ADDRESS)
        return allowed

    async def close(self) -> None:
        """Nothing is open."""
