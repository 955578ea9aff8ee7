"""The listening sockets of several processes on one port."""

from __future__ import annotations

import socket


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """Bind `count` sockets to one port; none listens yet. Raises `OSError` if the port is in use.

    Each process has a socket of its own, and the kernel spreads connections over those that listen
    (SO_REUSEPORT): processes that share one socket would take what they can get, one many and another none.
    """
    with socket.socket(family_of(host)) as probe:
        # Sockets that share a port may join a stranger's: one that does not share it fails where anybody listens.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)
        port = probe.getsockname()[1]
    return [bind_one(host, port) for _ in range(count)]


def bind_one(host: str, port: int) -> socket.socket:
    """One more socket on a port that is ours. Raises `OSError`."""
    made = socket.socket(family_of(host))
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def family_of(host: str) -> socket.AddressFamily:
    """The address family of a host, as the HTTP servers choose it."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
