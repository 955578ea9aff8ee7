"""The exchange: refusals before the handler, and sending of replies and streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from kaixu.edge import exchange as exchange_module
from kaixu.edge.cors import ReplyHeaders
from kaixu.edge.errors import Failures, native_error
from kaixu.edge.exchange import BodyLimits, Exchange
from kaixu.edge.failure_events import MAX_RECORDED, FailureEvents
from kaixu.edge.request import Headers, IncomingRequest, parse_headers
from kaixu.edge.request_body import SMALL_BODY_BYTES, BodyOwner
from kaixu.edge.response import SSE, Reply, json_reply
from kaixu.edge.routes import Auth, Handler, Route, Routes
from kaixu.edge.sse import EventStream
from kaixu.ops.call_facts import CallFacts
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.ops.request_end import CLIENT_GONE, RequestEnd, RequestListener
from kaixu.plugin.errors import KaixuError, Unauthenticated, Unavailable

LIMITS = BodyLimits(body_bytes=64, body_memory_bytes=128, stall_s=0.05)


class AnyCaller:
    """Callers without credentials."""

    def require(self, auth: Auth, headers: Headers) -> None:
        """Accepts all callers."""

    async def find_body_owner(self, request: IncomingRequest) -> BodyOwner:
        return "somebody"

    async def count_reading(self, request: IncomingRequest, body_bytes: int) -> None:
        """Counts nothing."""


def route(handler: Handler, path: str = "/api/route", shape: Any = native_error) -> Route:
    """A route to a handler."""
    return Route("POST", (path,), handler, auth="key", rate="call", error_shape=shape)


class Case(AnyCaller):
    """One exchange with a route: what was sent to it, and what it answered."""

    def __init__(self) -> None:
        self.limits = LIMITS
        self.recorded: list[MonitorEvent] = []
        self.ends: list[RequestEnd] = []
        self.listeners: list[RequestListener] = [self.ends.append]
        self.sent: list[dict[str, Any]] = []
        self.waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def run(
        self,
        handler: Handler,
        *messages: dict[str, Any],
        method: str = "POST",
        headers: Mapping[bytes, bytes] | None = None,
        shape: Any = native_error,
        path: str = "/api/route/",
    ) -> None:
        """Send a request to a route of `handler`."""
        monitor = Monitor(keep)
        routes = Routes([route(handler, shape=shape)])
        exchange = Exchange(
            routes,
            self,
            ReplyHeaders(frozenset()),
            Failures(),
            lambda: self.limits,
            listeners=(*self.listeners, FailureEvents(monitor)),
        )
        for message in messages:
            self.waiting.put_nowait(message)
        scope: Any = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": list((headers or {}).items()),
            "client": ("192.0.2.1", 1),
        }
        await exchange.serve(scope, self.waiting.get, self.send)  # type: ignore[arg-type]
        assert exchange.budget.held == 0
        self.recorded = list(monitor._waiting)

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        """The reply's status."""
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        """The reply's headers."""
        return parse_headers(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        """The reply's body, put together."""
        assert [message["more_body"] for message in self.sent[1:]] == [True] * (len(self.sent) - 2) + [False]
        return b"".join(message["body"] for message in self.sent[1:])


async def keep(events: Any, batch_id: object = None) -> None:
    """The events are not written."""


async def echo(request: IncomingRequest) -> Reply:
    """Replies with what it was sent."""
    return json_reply(
        {"body": request.body.decode(), "address": request.address, "agent": request.headers["user-agent"]}
    )


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_handler_sees_values() -> None:
    case = Case()
    headers = {b"User-Agent": b"test", b"x-request-id": b"mine"}
    await case.run(echo, part(b"a", more=True), part(b"b"), headers=headers)
    assert case.status == 200
    assert json.loads(case.body) == {"body": "ab", "address": "192.0.2.1", "agent": "test"}
    assert case.headers["x-kaixu-request-id"] == "mine"
    assert case.headers["content-length"] == str(len(case.body))


@pytest.mark.parametrize(
    ("headers", "parts"),
    [({b"content-length": b"65"}, ()), ({}, (part(b"x" * 40, more=True), part(b"x" * 40, more=True)))],
    ids=["announced", "not announced"],
)
async def test_a_body_over_the_limit_is_refused_before_it_is_whole(headers: Any, parts: Any) -> None:
    case = Case()
    await case.run(echo, *parts, headers=headers)
    assert (case.status, json.loads(case.body)["code"]) == (413, "TOO_LARGE")
    assert [event.http_status for event in case.recorded] == [413]


async def test_a_body_that_does_not_come_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "BODY_S", 0.05)
    case = Case()
    await case.run(echo, part(b"{", more=True))
    assert (case.status, json.loads(case.body)["code"]) == (408, "BODY_TIMEOUT")


async def test_a_request_without_a_credential_is_refused_before_its_body_is_read() -> None:
    class Refusing(Case):
        def require(self, auth: Auth, headers: Headers) -> None:
            raise Unauthenticated("Missing Authorization")

    silent = Refusing()
    waiting = asyncio.ensure_future(silent.run(echo, headers={b"content-length": b"60"}))
    while len(silent.sent) < 2:
        await asyncio.sleep(0)
    assert (silent.status, json.loads(silent.sent[1]["body"])["code"]) == (401, "UNAUTHENTICATED")
    assert int(silent.headers["content-length"]) == len(silent.sent[1]["body"])  # the reply is whole at once
    silent.waiting.put_nowait(part(b"x" * 60))
    await waiting
    assert "connection" not in silent.headers  # a short body is read and discarded: the connection stays open
    long = Refusing()
    await long.run(echo, part(b"x" * 60), headers={b"content-length": b"1000000"})
    assert (long.status, long.headers["connection"]) == (401, "close")


async def test_all_bodies_together_are_bounded_and_an_exchange_gives_its_bytes_back() -> None:
    inside, go = asyncio.Semaphore(0), asyncio.Event()

    async def slow(request: IncomingRequest) -> Reply:
        inside.release()
        await go.wait()
        return json_reply({})

    routes = Routes([route(slow, "/api/slow")])
    exchange = Exchange(routes, AnyCaller(), ReplyHeaders(frozenset()), Failures(), lambda: LIMITS)

    def send_request(*parts: dict[str, Any], **headers: str) -> tuple[asyncio.Future[bool], list[Any]]:
        waiting: asyncio.Queue[Any] = asyncio.Queue()
        for one in parts:
            waiting.put_nowait(one)
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope: Any = {
            "type": "http",
            "method": "POST",
            "path": "/api/slow",
            "query_string": b"",
            "headers": raw,
            "client": None,
        }
        return asyncio.ensure_future(exchange.serve(scope, waiting.get, send)), sent

    running = [send_request(part(b"x" * 60)) for _ in range(2)]
    for _ in running:
        await inside.acquire()
    assert exchange.budget.held == 120
    for headers in ({"content_length": "9"}, {}):
        late, sent = send_request(part(b"x" * 9), **headers)
        await late
        assert (sent[0]["status"], json.loads(sent[1]["body"])["code"]) == (503, "OVERLOADED")
        assert parse_headers(sent[0]["headers"])["retry-after"] == "1"
    fitting, sent = send_request(part(b"x" * 8))
    await inside.acquire()
    go.set()
    await asyncio.gather(fitting, *(task for task, _ in running))
    assert sent[0]["status"] == 200
    assert exchange.budget.held == 0


async def test_other_methods_are_405_with_the_one_that_is_allowed() -> None:
    case = Case()
    await case.run(echo, method="GET")
    assert (case.status, case.headers["allow"]) == (405, "POST")
    preflight = Case()
    await preflight.run(echo, method="OPTIONS")
    assert (preflight.status, preflight.body) == (204, b"")
    assert "POST" in preflight.headers["access-control-allow-methods"]


@pytest.mark.parametrize(("method", "status"), [("PUT", 405), ("HEAD", 405), ("OPTIONS", 204)])
async def test_the_body_of_a_request_without_a_route_is_discarded_so_that_its_client_reads_the_reply(
    method: str, status: int
) -> None:
    case = Case()
    parts = [part(b"x" * 100_000, more=True), part(b"x")]
    await case.run(echo, *parts, method=method, headers={b"content-length": b"100001"})
    assert (case.status, case.headers["connection"]) == (status, "close")
    assert case.waiting.empty()
    assert (case.body == b"") is (method != "PUT")


@pytest.mark.parametrize(("method", "status"), [("PUT", 405), ("OPTIONS", 204)])
async def test_the_body_of_a_request_without_a_handler_is_read_and_discarded(method: str, status: int) -> None:
    case = Case()
    await case.run(echo, part(b"a", more=True), part(b"b"), method=method, headers={b"content-length": b"2"})
    assert (case.status, case.waiting.qsize()) == (status, 0)  # a server closes the connection over an unread body
    large = Case()
    await large.run(echo, part(b"a"), method=method, headers={b"content-length": b"99999999"})
    assert (large.status, large.headers["connection"]) == (status, "close")


async def test_a_client_that_stops_reading_is_dropped_and_its_stream_closed() -> None:
    ended: list[str] = []

    async def make(out: EventStream) -> None:
        out.started = True
        try:
            while True:
                await out.put(b"x" * 1024)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def abandoned() -> None:
        ended.append("abandoned")

    async def endless(request: IncomingRequest) -> Reply:
        return Reply(200, {"content-type": SSE}, EventStream(make, abandoned))

    class Stalled(Case):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if len(self.sent) == 3:
                await asyncio.Event().wait()

    case = Stalled()
    await case.run(endless, part(b""))
    assert ended == ["cancelled"]
    assert [message.get("more_body") for message in case.sent] == [None, True, True]


async def test_an_unexpected_error_is_500_without_detail_and_in_the_shape_of_the_route() -> None:
    async def broken(request: IncomingRequest) -> Reply:
        raise ZeroDivisionError("secret")

    case = Case()
    await case.run(broken, part(b""), shape=lambda body, status: ({"mine": body["code"]}, status + 1))
    assert (case.status, json.loads(case.body)) == (501, {"mine": "INTERNAL"})


async def test_a_client_that_leaves_cancels_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "WATCH_AFTER_S", 0.01)
    ended = asyncio.Event()

    async def slow(request: IncomingRequest) -> Reply:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        raise AssertionError

    case = Case()
    await case.run(slow, part(b""), {"type": "http.disconnect"})
    assert ended.is_set()
    assert case.sent == []


async def test_a_client_that_leaves_in_the_middle_of_its_body_gets_nothing() -> None:
    case = Case()
    await case.run(echo, part(b"{", more=True), {"type": "http.disconnect"})
    assert case.sent == []


async def test_a_stream_is_closed_when_its_reader_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "WATCH_AFTER_S", 0.01)
    closed = asyncio.Event()

    async def write(out: EventStream) -> None:
        out.started = True
        try:
            await out.put(b"one")
            await asyncio.sleep(3600)
        finally:
            closed.set()

    async def abandon() -> None:
        raise AssertionError

    async def talk(request: IncomingRequest) -> Reply:
        return Reply(200, {"content-type": SSE}, EventStream(write, abandon))

    case = Case()
    await case.run(talk, part(b""), {"type": "http.disconnect"})
    assert closed.is_set()
    assert [message.get("body") for message in case.sent[1:]] == [b"one"]


async def test_the_monitor_records_only_so_many_errors_of_one_unknown_address() -> None:
    monitor = Monitor(keep)
    listener = FailureEvents(monitor)
    for _ in range(MAX_RECORDED + 5):
        listener(ended_with(Unauthenticated("no")))
    assert len(monitor._waiting) == MAX_RECORDED
    listener(ended_with(Unavailable("down")))
    assert len(monitor._waiting) == MAX_RECORDED + 1


def ended_with(error: KaixuError) -> RequestEnd:
    """The record of a request without a customer."""
    facts = CallFacts()
    facts.failed(error)
    return RequestEnd("r", "GET", "/api/x", "x", error.status, 1, 0, 0, False, facts, ip_hash="one")


async def test_an_unknown_path_is_404_with_a_small_body_limit() -> None:
    for path, status, code in (("/api/routes", 404, "NOT_FOUND"), ("/", 404, "NOT_FOUND")):
        case = Case()
        await case.run(echo, part(b"{}"), path=path)
        assert (case.status, json.loads(case.body)["code"]) == (status, code)
        assert case.recorded == []  # scanners would fill the monitor
    case = Case()
    case.limits = BodyLimits(body_bytes=10**6, body_memory_bytes=10**6, stall_s=0.05)
    await case.run(echo, part(b"x" * (SMALL_BODY_BYTES + 1)), path="/api/routes")
    assert (case.status, json.loads(case.body)["code"]) == (413, "TOO_LARGE")


async def test_a_body_that_does_not_come_is_408_at_an_unknown_path_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "BODY_S", 0.05)
    for parts in ((), (part(b"{", more=True),)):
        case = Case()
        await case.run(echo, *parts, path="/")
        assert (case.status, json.loads(case.body)["code"]) == (408, "BODY_TIMEOUT")


async def test_each_request_leaves_one_record_of_its_end() -> None:
    case = Case()
    headers = {b"x-request-id": b"mine", b"x-kaixu-app": b"shop", b"x-kaixu-build": b"7", b"user-agent": b"test"}
    await case.run(echo, part(b"hello"), headers=headers)
    [end] = case.ends
    assert (end.request_id, end.method, end.path, end.function) == ("mine", "POST", "/api/route", "route")
    assert (end.status, end.request_bytes, end.response_bytes) == (200, 5, len(case.body))
    assert (end.app_id, end.build_id, end.user_agent, end.error_code) == ("shop", "7", "test", None)
    assert not end.is_client_gone
    assert end.ip_hash is not None
    assert "192.0.2.1" not in end.ip_hash


async def refuse(request: IncomingRequest) -> Reply:
    raise Unavailable("down")


@pytest.mark.parametrize(
    ("parts", "method", "headers", "status", "code"),
    [
        ((part(b""),), "POST", {}, 503, "UNAVAILABLE"),
        ((), "POST", {b"content-length": b"65"}, 413, "TOO_LARGE"),
        ((), "GET", {}, 405, "METHOD_NOT_ALLOWED"),
        ((), "OPTIONS", {}, 204, None),
        ((), "POST", {b"content-length": b"1", b"transfer-encoding": b"chunked"}, 400, "BAD_REQUEST"),
    ],
    ids=["handler", "before the body", "method", "preflight", "ambiguous"],
)
async def test_refused_requests_leave_a_record_with_their_code(
    parts: Any, method: str, headers: Any, status: int, code: str | None
) -> None:
    case = Case()
    await case.run(refuse, *parts, method=method, headers=headers)
    [end] = case.ends
    assert (end.status, end.error_code) == (status, code)


async def test_a_client_that_leaves_before_the_reply_is_recorded_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "WATCH_AFTER_S", 0.01)

    async def endless(request: IncomingRequest) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    waits = Case()
    await waits.run(endless, part(b""), {"type": "http.disconnect"})
    sends = Case()
    await sends.run(echo, part(b"{", more=True), {"type": "http.disconnect"})
    for case in (waits, sends):
        [end] = case.ends
        assert (end.status, end.is_client_gone, end.response_bytes) == (CLIENT_GONE, True, 0)
        assert case.recorded == []


async def test_a_listener_that_raises_hurts_neither_the_call_nor_the_other_listeners() -> None:
    def broken(end: RequestEnd) -> None:
        raise ZeroDivisionError

    case = Case()
    case.listeners.insert(0, broken)
    await case.run(echo, part(b"a"), headers={b"user-agent": b"test"})
    assert case.status == 200
    assert [end.status for end in case.ends] == [200]


async def test_a_key_in_a_path_is_not_in_the_record() -> None:
    case = Case()
    await case.run(echo, part(b""), path="/api/route/kx_live_0123456789abcdef\n")
    [end] = case.ends
    assert (end.path, end.function) == ("/api/route/kx_…\\x0a", "kx_…\\x0a")


@pytest.mark.parametrize("phase", ["body", "handler", "reply"])
async def test_a_cancellation_by_the_server_stays_one_in_each_phase(phase: str) -> None:
    case, reached = Case(), asyncio.Event()

    async def forever() -> None:
        reached.set()
        await asyncio.Event().wait()

    async def handler(_: IncomingRequest) -> Reply:
        if phase == "handler":
            await forever()
        return json_reply({})

    async def send(message: Any) -> None:
        case.sent.append(message)
        await forever()

    if phase == "reply":
        case.limits = BodyLimits(64, 128, 60)
        case.send = send  # type: ignore[method-assign]
    messages = [] if phase == "body" else [{"type": "http.request", "body": b"{}", "more_body": False}]
    task = asyncio.ensure_future(case.run(handler, *messages, headers={b"content-length": b"2"}))
    if phase == "body":
        await asyncio.sleep(0)
    else:
        await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(case.sent) == (1 if phase == "reply" else 0)
    assert [end.status for end in case.ends] == [200 if phase == "reply" else CLIENT_GONE]


async def test_a_limit_that_a_reload_changes_counts_for_the_rest_of_the_call() -> None:
    case = Case()
    case.limits = BodyLimits(64, 128, 600)

    async def handler(_: IncomingRequest) -> Reply:
        case.limits = BodyLimits(64, 128, 0.05)
        return json_reply({})

    async def send(message: Any) -> None:
        case.sent.append(message)
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    case.send = send  # type: ignore[method-assign]
    await case.run(handler, {"type": "http.request", "body": b"{}", "more_body": False})
    assert [message["type"] for message in case.sent] == ["http.response.start", "http.response.body"]
    assert [end.is_client_gone for end in case.ends] == [True]
