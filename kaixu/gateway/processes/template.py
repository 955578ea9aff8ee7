"""The supervisor's side of a template: a process that has imported the gateway, and forks workers.

A worker that is forked starts in a fraction of the time, shares the memory of what was imported, and runs the same code
as the others also when an installation has begun to replace it on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Sequence

import msgspec

from .plan import Fork

MOST_BYTES = 4096


class TemplateEnded(Exception):
    """The template has ended, or could not begin."""


class Template:
    """One template process."""

    def __init__(self, process: int, requests: socket.socket) -> None:
        self.process = process
        self.requests = requests
        self.lock = asyncio.Lock()

    @classmethod
    async def start(cls, command: Sequence[str]) -> Template:
        """Start one and wait until it has imported the gateway. Raises `TemplateEnded`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            # A group of its own: Ctrl-C in a terminal reaches the supervisor alone, which passes it on.
            started = subprocess.Popen(  # noqa: ASYNC220, S603 - our own program, and starting it takes no time
                [*command, str(theirs.fileno()), str(os.getpid())], pass_fds=[theirs.fileno()], process_group=0
            )
        # The supervisor itself waits for all its children.
        started.returncode = 0
        template = cls(started.pid, ours)
        try:
            await template.answer()
        except BaseException:
            template.close()
            raise
        return template

    async def fork(self, order: Fork, descriptors: Sequence[int]) -> int:
        """Fork a worker that inherits `descriptors`; its process id. Raises `TemplateEnded`."""
        async with self.lock:
            try:
                socket.send_fds(self.requests, [msgspec.json.encode(order)], list(descriptors))
            except OSError:
                raise TemplateEnded("the process that workers are forked from has ended") from None
            try:
                return await self.answer()
            except asyncio.CancelledError:
                self.close()  # the next one that asks would get this answer
                raise

    async def answer(self) -> int:
        """The next number that it sends."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self.requests, MOST_BYTES)
        except OSError:
            data = b""
        if not data:
            raise TemplateEnded("the process that workers are forked from has ended")
        return int(data)

    def close(self) -> None:
        """Let it end."""
        with contextlib.suppress(OSError):
            self.requests.close()
