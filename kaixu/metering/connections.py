"""The connections to vendors, and how far a try has come with one."""

from __future__ import annotations

from aiohappyeyeballs import SocketFactoryType

from .http_resolver import Lookup, Resolver, look_up
from .http_transport import HttpTransport


class WireProgress:
    """The progress of one try. `connecting`: it waits for a connection, so nothing can have been sent."""

    __slots__ = ("connecting",)

    def __init__(self) -> None:
        self.connecting = False


def open_transport(lookup: Lookup = look_up, open_socket: SocketFactoryType | None = None) -> HttpTransport:
    """The connections to all vendors: no cookies, no proxies from the environment, no compression.

    `lookup` finds the addresses of names; `open_socket` makes the sockets, or refuses an address with an `OSError`.
    """
    return HttpTransport(Resolver(lookup), open_socket)
