"""The exchange: a body that never comes is given up, a client that leaves is noticed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from quart import Quart

from kaixu.http import connection
from kaixu.http.connection import Connection

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


async def exchange(app: Quart, *messages: dict[str, Any]) -> list[dict[str, Any]]:
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
    return sent


async def test_a_body_that_does_not_come_in_time_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BODY_S", 0.05)
    for messages in ((), ({"type": "http.request", "body": b"{", "more_body": True},)):
        start, body = await exchange(Quart("slow"), *messages)
        assert start["status"] == 408
        assert json.loads(body["body"])["code"] == "BODY_TIMEOUT"


async def test_a_client_that_leaves_in_the_middle_of_its_body_gets_nothing() -> None:
    parts = {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}
    assert await exchange(Quart("gone"), *parts) == []


async def test_a_client_that_leaves_cancels_the_handler() -> None:
    app = Quart("left")
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
