"""The exchange with Quart's views: bounded bodies, a client that leaves is noticed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from kaixu.edge import exchange as doors
from kaixu.edge.cors import Edge
from kaixu.edge.errors import Failures
from kaixu.edge.exchange import BodyLimits, Doors
from kaixu.edge.quart_exchange import Connection
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.gateway.app import Application
from kaixu.ops.events import Monitor, MonitorEvent

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "headers": [(b"host", b"here")],
    "http_version": "1.1",
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
    "extensions": {},
}


async def keep(events: Sequence[MonitorEvent]) -> None:
    """A monitor that nobody reads."""


@pytest.fixture
def app() -> Application:
    """An application without views."""
    limits = BodyLimits(body_bytes=1024, body_memory_bytes=10**6, stall_s=1)
    edge = Edge(frozenset())
    return Application(edge, Doors(edge, Failures(Monitor(keep)), lambda: limits, lambda headers: None))


async def exchange(app: Application, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What the application sends when it receives `messages`, and then nothing more."""
    sent: list[dict[str, Any]] = []
    waiting = list(messages)

    async def receive() -> Any:
        if not waiting:
            await asyncio.sleep(3600)
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await Connection(app, SCOPE)(receive, send)  # type: ignore[arg-type]
    assert app.doors.budget.held == 0
    return sent


async def test_a_body_that_does_not_come_in_time_is_408(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "BODY_S", 0.05)
    for messages in ((), ({"type": "http.request", "body": b"{", "more_body": True},)):
        start, body = await exchange(app, *messages)
        assert start["status"] == 408
        assert json.loads(body["body"])["code"] == "BODY_TIMEOUT"


async def test_where_nobody_shows_a_credential_bodies_are_short(app: Application) -> None:
    start, body = await exchange(app, {"type": "http.request", "body": b"x" * (SMALL_BODY_BYTES + 1)})
    assert (start["status"], json.loads(body["body"])["code"]) == (413, "TOO_LARGE")


async def test_a_client_that_leaves_in_the_middle_of_its_body_gets_nothing(app: Application) -> None:
    parts = {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}
    assert await exchange(app, *parts) == []


async def test_a_client_that_leaves_cancels_the_handler(app: Application) -> None:
    ended = asyncio.Event()

    @app.post("/")
    async def view() -> str:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return ""

    assert await exchange(app, {"type": "http.request", "body": b""}, {"type": "http.disconnect"}) == []
    assert ended.is_set()
