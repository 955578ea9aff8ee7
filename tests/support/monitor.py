"""A viewer of `admin-monitor-stream`, and events to write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from kaixu.ops.events import MonitorEvent
from tests.support.operators import admin_token

#: How long a test waits for what must come.
PATIENCE_S = 30.0


class StreamViewer:
    """One open stream: its frames as (name, data, id), as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.frames: list[tuple[str, Any, str | None]] = []
        self.is_over = False
        self._came = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        buffer = b""
        async for chunk in self.response.content.iter_any():
            assert b"\r" not in chunk
            buffer += chunk
            while b"\n\n" in buffer:
                frame, buffer = buffer.split(b"\n\n", 1)
                fields = dict(line.split(": ", 1) for line in frame.decode().split("\n"))
                self.frames.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
                self._came.set()
        self.is_over = True
        self._came.set()

    async def until(self, is_enough: Callable[[StreamViewer], bool]) -> StreamViewer:
        """Wait until enough has come."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_enough(self):
                assert not self._reading.done() or self.is_over, self._reading.exception()
                assert not self.is_over, self.frames
                self._came.clear()
                await self._came.wait()
        return self

    async def over(self) -> StreamViewer:
        """Wait until the stream has ended by itself."""
        async with asyncio.timeout(PATIENCE_S):
            await self._reading
        return self

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events so far."""
        return [data for name, data, _ in self.frames if name == "event"]

    @property
    def words(self) -> list[str]:
        """The messages of the events so far."""
        return [str(event["error_message"]) for event in self.events]

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """The warnings so far."""
        return [data for name, data, _ in self.frames if name == "warn"]

    def close(self) -> None:
        """Disconnect."""
        self._reading.cancel()
        self.response.close()


@asynccontextmanager
async def follow(
    http: aiohttp.ClientSession, url: str, *, headers: dict[str, str] | None = None, **filters: str | int
) -> AsyncIterator[StreamViewer]:
    """A stream that has said hello."""
    query = {name: str(value) for name, value in filters.items()}
    async with http.get(
        f"{url}/api/admin-monitor-stream", params=query, headers=operator_headers() | (headers or {})
    ) as response:
        assert response.status == 200, await response.text()
        viewer = StreamViewer(response)
        try:
            yield await viewer.until(lambda one: bool(one.frames))
        finally:
            viewer.close()


def operator_headers() -> dict[str, str]:
    """An operator's credential."""
    return {"authorization": f"Bearer {admin_token()}"}


def event(message: str, **fields: Any) -> MonitorEvent:
    """An event that a test recognises by its message."""
    return MonitorEvent(**({"kind": "error", "error_message": message} | fields))
