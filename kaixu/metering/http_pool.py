"""The pool of connections: opened when none is idle, used again, closed after half a minute without use."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque

import aiohappyeyeballs
import httpx
from aiohappyeyeballs import AddrInfoType, SocketFactoryType

from .http_connection import Connection
from .http_resolver import Resolver

#: How long a connection may be idle, in seconds.
MOST_IDLE_S = 30.0

#: A connection that was idle for so long is looked at before it is used again; before that it costs more than it gives.
LOOK_AFTER_S = 1.0

#: The next address is tried beside one that has not answered for so long (RFC 8305 §5), in seconds.
NEXT_ADDRESS_S = 0.25

#: Scheme, host, port if it is not the usual one, and the name for TLS if it is not the host.
Origin = tuple[bytes, bytes, int | None, str | None]

PORTS = {b"http": 80, b"https": 443}


class ConnectionPool:
    """Connections to any number of vendors, any number to each. `open_socket` may refuse an address by an `OSError`."""

    def __init__(self, resolver: Resolver, ssl_context: ssl.SSLContext, open_socket: SocketFactoryType | None) -> None:
        self.resolver = resolver
        self.ssl_context = ssl_context
        self.open_socket = open_socket or new_socket
        self.connections: set[Connection] = set()
        self.idle: dict[Origin, deque[Connection]] = {}  # the one that was used last is on the right
        self.timer: asyncio.TimerHandle | None = None
        self.is_closed = False

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection, the one that was used last; None if there is none."""
        idle = self.idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                idle_s = connection.loop.time() - connection.idle_since
                if idle_s < LOOK_AFTER_S or (idle_s < MOST_IDLE_S and not connection.has_input()):
                    return connection
            connection.close()
        return None

    def release(self, connection: Connection) -> None:
        """The connection is idle."""
        connection.idle_since = connection.loop.time()
        idle = self.idle.get(connection.origin)
        if idle is None:
            idle = self.idle[connection.origin] = deque()
        idle.append(connection)
        if self.timer is None:
            self.timer = connection.loop.call_later(MOST_IDLE_S, self.close_idle, connection.loop)

    def close_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the connections that were idle for too long, and look again when the next one may be."""
        now = loop.time()
        oldest = now
        for origin, idle in list(self.idle.items()):
            while idle and (idle[0].is_closed or now - idle[0].idle_since >= MOST_IDLE_S):
                idle.popleft().close()
            if idle:
                oldest = min(oldest, idle[0].idle_since)
            else:
                del self.idle[origin]
        self.timer = None
        if self.idle:
            self.timer = loop.call_at(max(oldest + MOST_IDLE_S, now + 1), self.close_idle, loop)

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self.connections.discard(connection)

    async def open(self, origin: Origin, connect_s: float | None) -> Connection:
        """A new connection. Raises `httpx.ConnectError`, `httpx.ConnectTimeout`, and `httpx.UnsupportedProtocol`."""
        scheme, raw_host, given_port, tls_name = origin
        host, port = raw_host.decode("ascii"), given_port or PORTS.get(scheme)
        if port is None or not host:
            raise httpx.UnsupportedProtocol("the vendor's URL is not a web address")
        try:
            async with asyncio.timeout(connect_s) as limit:
                addresses = await self.resolver.addresses(host, port)
                connection = await self.connect(addresses, origin, (tls_name or host).rstrip("."))
        except (OSError, RuntimeError, ValueError) as error:  # uvloop raises RuntimeError for some of them
            self.resolver.forget(host, port)
            if limit.expired():
                raise httpx.ConnectTimeout("no connection to the vendor came about in time") from error
            raise httpx.ConnectError("no connection to the vendor came about") from error
        if self.is_closed:
            connection.close()
            raise httpx.ConnectError("the gateway is stopping")
        if connection.is_closed:  # before anything was sent to it
            raise httpx.ConnectError("the vendor closed the new connection, or sent something that nobody asked for")
        self.connections.add(connection)
        return connection

    async def connect(self, addresses: list[AddrInfoType], origin: Origin, tls_name: str) -> Connection:
        """A connection to the first address where there is one. Raises `OSError` or `RuntimeError`."""
        loop = asyncio.get_running_loop()
        is_tls = origin[0] == b"https"
        while True:
            opened = await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, loop=loop, socket_factory=self.open_socket
            )
            peer = opened.getpeername()
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self, origin),
                    sock=opened,
                    ssl=self.ssl_context if is_tls else None,
                    server_hostname=tls_name if is_tls else None,
                )
                return connection
            except ssl.SSLCertVerificationError:
                raise
            except OSError:
                aiohappyeyeballs.remove_addr_infos(addresses, peer)
                if not addresses:
                    raise

    async def aclose(self) -> None:
        """Close all connections; what waits for one of them fails."""
        self.is_closed = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.idle.clear()
        for connection in list(self.connections):
            connection.close()
        await asyncio.sleep(0)  # the event loop closes their sockets


def new_socket(info: AddrInfoType) -> socket.socket:
    """A socket for an address. Long silences are normal, so the system finds out about vendors that are gone."""
    family, kind, protocol, _, _ = info
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return opened
