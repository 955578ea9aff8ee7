"""Connections to public addresses only, for integrations that send to URLs that customers give."""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from kaixu.plugin.private_addresses import is_private, parse_host

from .connections import open_transport

PRIVATE_ADDRESS = "its address is inside a private network"


class PublicResolver(AbstractResolver):
    """Resolves names and drops private addresses. Connections go to the resolved addresses."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self.resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public addresses of a name. Raises `OSError` if there are none."""
        public = [one for one in await self.resolver.resolve(host, port, family) if is_public(one["host"])]
        if not public:
            raise OSError(PRIVATE_ADDRESS)
        return public

    async def close(self) -> None:
        """Close the resolver that is asked."""
        await self.resolver.close()


def is_public(host: str) -> bool:
    """Whether this is a public address; False for anything else."""
    address = parse_host(host)
    return address is not None and not is_private(address)


def open_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """A socket for one address. Raises `OSError` for a private one: a host that is an address is not resolved."""
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise OSError(PRIVATE_ADDRESS)
    return socket.socket(family, kind, protocol)


def open_public_transport(resolver: AbstractResolver | None = None) -> AiohttpTransport:
    """As `open_transport`, but nothing inside a private network can be reached."""
    return open_transport(resolver=PublicResolver(resolver or aiohttp.ThreadedResolver()), socket_factory=open_socket)
