"""Sees what a handler does that the gateway cannot see: it blocks the event loop, or connects past the wire."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel, SecretStr

#: The calls of the standard library that wait or connect, and what to do instead.
IN_THE_LOOP = {
    "time.sleep": "it blocks the event loop with time.sleep, and every other call: use asyncio.sleep or call.in_thread",
    "subprocess.Popen": "it starts a process in the event loop: use call.in_thread",
}
ANYWHERE = {
    "socket.connect": "it opens a connection of its own: nobody meters, limits or closes it. Use call.wire",
    "socket.getaddrinfo": "it resolves a host itself, for a connection of its own. Use call.wire",
}


class Watch:
    """What was seen during one run."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.thread = threading.get_ident()

    def note(self, event: str) -> None:
        """An event of Python's audit hooks (PEP 578)."""
        words = ANYWHERE.get(event) or (IN_THE_LOOP.get(event) if threading.get_ident() == self.thread else None)
        if words is not None and words not in self.seen:
            self.seen.append(words)


#: The watch of the handler that runs here; its threads have it, too.
WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


def audit(event: str, _: tuple[object, ...]) -> None:
    """The hook. It cannot be removed, so it does nothing outside of a run."""
    if event in IN_THE_LOOP or event in ANYWHERE:
        watch = WATCH.get()
        if watch is not None:
            watch.note(event)


class Hook:
    """Installed once, by the first run."""

    is_installed = False


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch what runs in the block, and in threads that it starts with `call.in_thread`."""
    if not Hook.is_installed:
        Hook.is_installed = True
        sys.addaudithook(audit)
    watch = Watch()
    token = WATCH.set(watch)
    sleep = time.sleep

    def noted_sleep(seconds: Any, /) -> None:
        audit("time.sleep", ())
        sleep(seconds)

    time.sleep = noted_sleep  # an event of its own only since Python 3.13
    try:
        yield watch
    finally:
        time.sleep = sleep
        WATCH.reset(token)


def other_tasks(before: set[asyncio.Task[object]]) -> list[asyncio.Task[object]]:
    """The tasks that have begun since and still run, except for the present one."""
    return [task for task in asyncio.all_tasks() - before if task is not asyncio.current_task() and not task.done()]


def secrets_of_options(options: object) -> set[str]:
    """The values of the secrets in a plugin's options."""
    if not isinstance(options, BaseModel):
        return set()
    values = (getattr(options, name) for name in type(options).model_fields)
    return {value.get_secret_value() for value in values if isinstance(value, SecretStr)}
