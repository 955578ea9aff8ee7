"""Closing a port without losing a connection that a client has already made."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator

#: From Linux' `asm-generic/socket.h`; Python has no name for it.
SO_ATTACH_FILTER = 26

#: A filter (`linux/filter.h`: code, jump if true, jump if false, operand) that drops the first packet of a connection,
#: which alone has SYN without ACK among its flags, and passes everything else.
DROP_NEW_CONNECTIONS = (
    (0x30, 0, 0, 13),  # load the flags, byte 13 of TCP's header
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # is it SYN alone?
    (0x06, 0, 0, 0),  # yes: drop
    (0x06, 0, 0, 0xFFFFFFFF),  # no: pass
)

#: How long connections that had begun before may take to be complete, accepted, and to bring their first request.
COMPLETE_S = 0.2


async def stop_accepting(sockets: Iterable[socket.socket]) -> None:
    """Let no further connection begin on listening sockets, and wait until those that have begun are accepted.

    Closing a listening socket resets connections that the kernel has made and the server has not accepted yet: their
    clients may have sent a request by then, which a proxy must not send to another server. A dropped packet is sent
    again a second later, when the port is closed, so such a client is refused and goes elsewhere. Not for a socket that
    other processes accept from, too.

    Does nothing where the system has no such filter; a few connections may then be lost.
    """
    listening = list(sockets)
    if not sys.platform.startswith("linux"):
        return
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in DROP_NEW_CONNECTIONS))
    program = struct.pack("HL", len(DROP_NEW_CONNECTIONS), ctypes.addressof(code))
    for one in listening:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    await asyncio.sleep(COMPLETE_S)


@contextlib.contextmanager
def listening_on(port: int) -> Iterator[list[socket.socket]]:
    """This process' listening sockets of a port, for a server that does not show its own."""
    found: list[socket.socket] = []
    try:
        for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
            with contextlib.suppress(OSError):
                one = socket.socket(fileno=os.dup(int(name)))
                is_listening = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if is_listening and one.family in (socket.AF_INET, socket.AF_INET6) and one.getsockname()[1] == port:
                    found.append(one)
                else:
                    one.close()
        yield found
    finally:
        for one in found:
            one.close()
