"""The addresses of host names, remembered for a minute."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from aiohappyeyeballs import AddrInfoType

#: How long addresses are remembered, in seconds.
REMEMBERED_S = 60.0

#: How many names are remembered.
MOST_NAMES = 1000

#: Looks up the addresses of a host and port, in the form of `socket.getaddrinfo`. Raises `OSError` if there are none.
Lookup = Callable[[str, int], Awaitable[list[AddrInfoType]]]


async def look_up(host: str, port: int) -> list[AddrInfoType]:
    """The addresses that the system's resolver knows."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(found)


def literal_address(host: str, port: int) -> list[AddrInfoType] | None:
    """The address that `host` is itself; None if it is a name."""
    try:
        ip_address(host)
    except ValueError:
        return None
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))


class Resolver:
    """Addresses of names. Requests that need the same name at once share one look-up."""

    def __init__(self, lookup: Lookup = look_up) -> None:
        self.lookup = lookup
        self.remembered: dict[tuple[str, int], tuple[float, list[AddrInfoType]]] = {}  # until when, and what
        self.lookups: dict[tuple[str, int], asyncio.Task[list[AddrInfoType]]] = {}

    async def addresses(self, host: str, port: int) -> list[AddrInfoType]:
        """The addresses of a host, each time in another order. Raises `OSError`, and `ValueError` for no valid name."""
        literal = literal_address(host, port)
        if literal is not None:
            return literal
        now = asyncio.get_running_loop().time()
        until, found = self.remembered.get((host, port), (0.0, []))
        if not found or until <= now:
            # One caller that leaves must not end the look-up of the others.
            found = await asyncio.shield(self.shared_lookup(host, port))
            until = now + REMEMBERED_S
        if len(self.remembered) >= MOST_NAMES:
            self.remembered.clear()
        self.remembered[host, port] = (until, found[1:] + found[:1])
        return list(found)

    def shared_lookup(self, host: str, port: int) -> asyncio.Task[list[AddrInfoType]]:
        """The look-up that runs, or a new one."""
        key = (host, port)
        task = self.lookups.get(key)
        if task is None:

            async def look() -> list[AddrInfoType]:
                return await self.lookup(host, port)

            def ended(task: asyncio.Task[list[AddrInfoType]]) -> None:
                self.lookups.pop(key, None)
                if not task.cancelled():
                    task.exception()  # if all who waited have left

            task = self.lookups[key] = asyncio.get_running_loop().create_task(look())
            task.add_done_callback(ended)
        return task

    def forget(self, host: str, port: int) -> None:
        """Look up a name again the next time: none of its addresses could be reached."""
        self.remembered.pop((host, port), None)
