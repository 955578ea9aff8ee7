"""Threads of a handler: awaited before the call is settled, and cut off from the wire when they are not wanted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from kaixu.plugin import HostNotDeclared, TicketClosed, TooLarge, UpstreamBusy, UpstreamError
from kaixu.plugin import own_thread as module
from kaixu.plugin.origins import Hosts
from kaixu.plugin.own_thread import MOST_THREADS, Threads, ThreadWire
from kaixu.plugin.testing import Answer, FakeCall, FakeWire

REQUEST = httpx.Request("POST", "https://vendor.example/", content=b"{}")


async def test_a_function_that_blocks_gets_its_arguments_and_gives_its_result() -> None:
    def add(a: int, *, b: int) -> tuple[int, bool]:
        return a + b, threading.current_thread() is threading.main_thread()

    assert await FakeCall().in_thread(add, 1, b=2) == (3, False)


@pytest.mark.parametrize(
    ("raised", "arrives"), [(ValueError("a bug"), ValueError), (StopIteration(), RuntimeError), (SystemExit(1), RuntimeError)]
)  # fmt: skip
async def test_what_a_thread_raises_is_raised_in_the_handler(
    raised: BaseException, arrives: type[BaseException]
) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises(arrives):
        await FakeCall().in_thread(fail)


async def test_a_blocking_wire_sends_and_returns_whole_answers() -> None:
    wire = FakeWire(
        Answer(200, {"x-a": "1", "transfer-encoding": "chunked"}, [b"an ", b"answer"]),
        Answer(404, {}, [b"no"]),
        Answer(503, {"retry-after": "7"}),
    )
    call = FakeCall(wire=wire)

    def use() -> tuple[httpx.Response, httpx.Response]:
        blocking = call.wire.blocking()
        first = blocking.send(REQUEST)
        second = blocking.send(REQUEST, accept={404})
        with pytest.raises(UpstreamBusy):
            blocking.send(REQUEST)
        return first, second

    first, second = await call.in_thread(use)
    assert (first.status_code, first.text, first.headers["x-a"]) == (200, "an answer", "1")
    assert (second.status_code, second.content, wire.open) == (404, b"no", 0)


async def test_it_has_the_same_limits_as_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a" * 10
        yield b"b" * 10

    wire = FakeWire(lambda _: Answer(200))
    wire.hosts = Hosts(["vendor.example"], None)
    call = FakeCall(wire=wire)
    blocking = call.wire.blocking()

    def elsewhere() -> None:
        blocking.send(httpx.Request("GET", "https://other.example/"))

    with pytest.raises(HostNotDeclared):
        await call.in_thread(elsewhere)
    await call.in_thread(blocking.send, httpx.Request("POST", "https://vendor.example/", content=pieces()))
    sent = wire.requests[0]
    assert (sent.content, sent.headers["content-length"]) == (b"a" * 10 + b"b" * 10, "20")
    assert "transfer-encoding" not in sent.headers
    monkeypatch.setattr(module, "MOST_BODY_BYTES", 19)
    with pytest.raises(TooLarge):
        await call.in_thread(blocking.send, httpx.Request("POST", "https://vendor.example/", content=pieces()))


async def test_an_asynchronous_body_is_read_in_the_event_loop_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a thread sends files of any length: the limit is for what is read as a whole."""
    monkeypatch.setattr(module, "MOST_BODY_BYTES", 4)
    readers: list[threading.Thread] = []

    class Pieces(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in (b"long", b"er"):
                readers.append(threading.current_thread())
                yield piece

    call = FakeCall(wire=FakeWire(Answer(200)))
    request = httpx.Request("POST", "https://vendor.example/", headers={"content-length": "6"}, stream=Pieces())
    assert (await call.in_thread(lambda: call.wire.blocking().send(request))).status_code == 200
    assert set(readers) <= {threading.main_thread()}
    assert request.headers["content-length"] == "6"
    assert "transfer-encoding" not in request.headers


async def test_a_blocking_wire_works_in_such_a_thread_only() -> None:
    wire = ThreadWire(FakeWire(Answer(200)))
    with pytest.raises(RuntimeError, match="thread of `call"):
        wire.send(REQUEST)
    with pytest.raises(RuntimeError, match="thread of `call"):
        await asyncio.to_thread(wire.send, REQUEST)


async def test_a_handler_that_is_cancelled_waits_for_its_thread_which_can_send_nothing_more() -> None:
    call = FakeCall(wire=FakeWire(Answer(200)))
    go_on, saw = threading.Event(), list[str]()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait()
        try:
            call.wire.blocking().send(REQUEST)
        except TicketClosed:
            saw.append("closed")

    handler = asyncio.ensure_future(call.in_thread(work))
    await began.wait()
    for _ in range(2):  # impatience does not help
        handler.cancel()
        await asyncio.wait([handler], timeout=0.05)
        assert not handler.done()
    go_on.set()
    await asyncio.wait([handler])
    assert (handler.cancelled(), saw, call.wire.requests) == (True, ["closed"], [])


async def test_a_thread_stores_an_answer_of_any_length_in_a_file(tmp_path: Path) -> None:
    call = FakeCall(
        wire=FakeWire(Answer(404, {"x-vendor": "yes"}, [b"a" * 10, b"b" * 10]), Answer(200, {}, [b"c" * 9]))
    )
    call.wire.most_whole_bytes = 5

    def work() -> tuple[int, str | None, bytes]:
        answer = call.wire.blocking().send(REQUEST, accept="all", save_to=tmp_path / "answer")
        return answer.status_code, answer.headers.get("x-vendor"), answer.content

    assert await call.in_thread(work) == (404, "yes", b"")
    assert (tmp_path / "answer").read_bytes() == b"a" * 10 + b"b" * 10
    with pytest.raises(UpstreamError, match="larger than 8 bytes"):
        await call.in_thread(call.wire.blocking().send, REQUEST, save_to=tmp_path / "answer", most_bytes=8)


async def test_a_thread_that_waits_for_a_vendor_is_let_go_at_once() -> None:
    sending = asyncio.Event()

    class NeverAnswers(FakeWire):
        async def attempt(
            self, request: httpx.Request, accept: object, most_bytes: int | None = None
        ) -> httpx.Response:
            sending.set()
            await asyncio.sleep(3600)
            raise AssertionError("not reached")

    call = FakeCall(wire=NeverAnswers())
    saw = list[str]()

    def work() -> None:
        try:
            call.wire.blocking().send(REQUEST)
        except TicketClosed:
            saw.append("closed")

    handler = asyncio.ensure_future(call.in_thread(work))
    await sending.wait()
    handler.cancel()
    await asyncio.wait([handler])
    assert (handler.cancelled(), saw) == (True, ["closed"])


async def test_what_a_handler_did_not_wait_for_is_waited_for_at_its_end() -> None:
    threads, go_on, ended = Threads(), threading.Event(), list[bool]()

    def work() -> None:
        go_on.wait()
        ended.append(True)

    left = asyncio.ensure_future(threads.run(work))
    await asyncio.sleep(0)
    ending = asyncio.ensure_future(threads.end())
    await asyncio.wait([ending], timeout=0.05)
    assert not ending.done()
    go_on.set()
    await ending
    assert ended == [True]
    await left


async def test_a_call_has_a_few_threads_at_once_and_starts_none_after_its_end() -> None:
    threads, go_on = Threads(), threading.Event()
    running, most = list[int](), list[int]()

    def work(number: int) -> None:
        running.append(number)
        most.append(len(running))
        go_on.wait()
        running.remove(number)

    all_of_them = [asyncio.ensure_future(threads.run(work, number)) for number in range(2 * MOST_THREADS)]
    while len(running) < MOST_THREADS:
        await asyncio.sleep(0.001)
    ending = asyncio.ensure_future(threads.end())
    await asyncio.sleep(0)
    go_on.set()
    await ending
    results = await asyncio.gather(*all_of_them, return_exceptions=True)
    assert max(most) == MOST_THREADS
    assert [type(one) for one in results] == [type(None)] * MOST_THREADS + [TicketClosed] * MOST_THREADS


async def test_nothing_starts_after_the_call() -> None:
    call = FakeCall()
    call.close()
    with pytest.raises(TicketClosed):
        await call.in_thread(lambda: None)
    with pytest.raises(TicketClosed):
        call.scratch(1)
