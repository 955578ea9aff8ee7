"""Threads of a handler, for libraries that block, and the synchronous wire for them.

A thread cannot be stopped from outside. So a call waits for its threads before it is settled; one that is not wanted
any more can send nothing, which ends what it does with the wire.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import httpx

from kaixu.plugin.blob import BlobBody, prepare_blob_body
from kaixu.plugin.errors import TicketClosed, TooLarge
from kaixu.plugin.tries import ONCE, Accept, Tries

log = logging.getLogger(__name__)

#: After this many seconds of waiting for a thread that is not wanted any more, the log says so; then each time again.
SLOW_END_S = 30.0

#: How many threads a call has at once; further ones wait.
MOST_THREADS = 8

#: The most of a request's body that a blocking wire reads.
MOST_BODY_BYTES = 160 * 1024 * 1024

P = ParamSpec("P")
R = TypeVar("R")


class Lease:
    """What a thread may use of its call: everything until `end`, nothing afterwards."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._running: concurrent.futures.Future[Any] | None = None
        self._is_over = False

    def run(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run `work` in the event loop and wait for it. Raises `TicketClosed`, also if the lease ends meanwhile."""
        with self._lock:
            if self._is_over:
                raise TicketClosed("the call has been settled or given up; its wire is closed")
            running = asyncio.run_coroutine_threadsafe(work(), self._loop)
            self._running = running
        try:
            return running.result()
        except concurrent.futures.CancelledError:
            raise TicketClosed("the call was given up while its thread used the wire") from None

    def end(self) -> None:
        """Cancel what the thread does with the wire, and let it do nothing more."""
        with self._lock:
            self._is_over = True
            running = self._running
        if running is not None:
            running.cancel()


#: The lease of the current thread. A context variable, because a library passes no parameter on to its HTTP client.
LEASE: ContextVar[Lease | None] = ContextVar("lease", default=None)


class Threads:
    """The threads of one call."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Future[Any], Lease] = {}
        self._slots = asyncio.Semaphore(MOST_THREADS)
        self._has_ended = False

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` in a thread of its own, once there is one for it. See `kaixu.plugin.Call.in_thread`."""
        async with self._slots:
            if self._has_ended:
                raise TicketClosed("the call has been settled; it starts no thread")
            return await self._run(function, *args, **kwargs)

    async def _run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[R] = loop.create_future()
        lease = Lease(loop)
        context = copy_context()
        context.run(LEASE.set, lease)

        def finish(value: R | None, error: BaseException | None) -> None:
            if error is None:
                result.set_result(value)  # type: ignore[arg-type]
            elif isinstance(error, Exception) and not isinstance(error, StopIteration):
                result.set_exception(error)
            else:  # would end the event loop, or cannot be raised in a coroutine
                result.set_exception(RuntimeError(f"the thread ended with {type(error).__name__}"))

        def work() -> None:
            value, failure = None, None
            try:
                value = context.run(function, *args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - passed on to the handler
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finish, value, failure)

        threading.Thread(target=work, name="integration", daemon=True).start()
        self._running[result] = lease
        result.add_done_callback(self._running.pop)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            lease.end()
            await wait_for_end(result)
            raise
        finally:
            lease.end()

    async def end(self) -> None:
        """Start none any more, end the leases of threads that still run, and wait for the threads."""
        self._has_ended = True
        for lease in self._running.values():
            lease.end()
        for result in list(self._running):
            await wait_for_end(result)


async def wait_for_end(result: asyncio.Future[Any]) -> None:
    """Wait for a thread, even if this task is cancelled meanwhile; then raise the cancellation."""
    cancelled: asyncio.CancelledError | None = None
    while not result.done():
        try:
            done, _ = await asyncio.wait([result], timeout=SLOW_END_S)
            if not done:
                log.warning("a handler has ended, but its thread still runs; its call cannot be settled before it ends")
        except asyncio.CancelledError as error:
            cancelled = error
    if not result.cancelled():
        result.exception()  # nobody else asks for it
    if cancelled is not None:
        raise cancelled


def read_body(request: httpx.Request) -> None:
    """Read the whole body in this thread, because reading it may block. Raises `TooLarge`."""
    prepare_blob_body(request)
    if isinstance(request.stream, BlobBody):
        return  # it is read in the event loop
    if isinstance(request.stream, httpx.AsyncByteStream) and not isinstance(request.stream, httpx.SyncByteStream):
        return  # so is this one, piece by piece
    if not isinstance(request.stream, httpx.ByteStream):
        pieces, size = [], 0
        for piece in cast(Iterable[bytes], request.stream):
            size += len(piece)
            if size > MOST_BODY_BYTES:
                raise TooLarge(f"a request of a thread is larger than {MOST_BODY_BYTES >> 20} MiB")
            pieces.append(piece)
        request.stream = httpx.ByteStream(b"".join(pieces))
        request.headers.pop("transfer-encoding", None)
        request.headers["content-length"] = str(size)
    request.read()


class AsyncSender(Protocol):
    """The part of a wire that `ThreadWire` uses."""

    def send(
        self,
        request: httpx.Request,
        *,
        accept: Accept = ...,
        tries: Tries = ...,
        timeout_s: float | None = ...,
        most_bytes: int | None = ...,
    ) -> AbstractAsyncContextManager[httpx.Response]: ...


async def saved(answer: httpx.Response, path: Path) -> bytes:
    """Write the body of an answer into a file, a piece at a time; what is left of it in memory: nothing."""
    with await asyncio.to_thread(path.open, "wb") as file:
        async for piece in answer.aiter_raw():
            await asyncio.to_thread(file.write, piece)
    return b""


class ThreadWire:
    """See `kaixu.plugin.BlockingWire`."""

    def __init__(self, wire: AsyncSender) -> None:
        self._wire = wire

    def send(
        self,
        request: httpx.Request,
        *,
        accept: Accept = (),
        tries: Tries = ONCE,
        timeout_s: float | None = None,
        most_bytes: int | None = None,
        save_to: Path | None = None,
    ) -> httpx.Response:
        """See `kaixu.plugin.BlockingWire.send`."""
        lease = LEASE.get()
        if lease is None:
            raise RuntimeError("a blocking wire works in a thread of `call.in_thread` only")
        read_body(request)

        async def exchange() -> httpx.Response:
            sending = self._wire.send(request, accept=accept, tries=tries, timeout_s=timeout_s, most_bytes=most_bytes)
            async with sending as answer:
                content = await (answer.aread() if save_to is None else saved(answer, save_to))
                headers = [one for one in answer.headers.raw if one[0].lower() != b"transfer-encoding"]
                return httpx.Response(
                    answer.status_code,
                    headers=headers,
                    content=content,
                    request=request,
                    extensions={"http_version": b"HTTP/1.1"},
                )

        return lease.run(exchange)
