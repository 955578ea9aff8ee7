"""Connections to public addresses only, for integrations that send to URLs that customers give."""

from __future__ import annotations

import socket

from aiohappyeyeballs import AddrInfoType

from kaixu.plugin.private_addresses import is_private, parse_host

from .connections import open_transport
from .http_pool import new_socket
from .http_resolver import Lookup, look_up
from .http_transport import HttpTransport

PRIVATE_ADDRESS = "its address is inside a private network"


def only_public(lookup: Lookup) -> Lookup:
    """`lookup` without private addresses. Connections go to the addresses that it returns, so a name cannot change."""

    async def public(host: str, port: int) -> list[AddrInfoType]:
        found = [info for info in await lookup(host, port) if is_public(str(info[4][0]))]
        if not found:
            raise OSError(PRIVATE_ADDRESS)
        return found

    return public


def is_public(host: str) -> bool:
    """Whether this is a public address; False for anything else."""
    address = parse_host(host)
    return address is not None and not is_private(address)


def open_socket(info: AddrInfoType) -> socket.socket:
    """A socket for one address. Raises `OSError` for a private one: a host that is an address is not looked up."""
    if not is_public(str(info[4][0])):
        raise OSError(PRIVATE_ADDRESS)
    return new_socket(info)


def open_public_transport(lookup: Lookup = look_up) -> HttpTransport:
    """As `open_transport`, but nothing inside a private network can be reached."""
    return open_transport(only_public(lookup), open_socket)
