"""The HTTP client of the wire, on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from kaixu.metering.connections import open_transport
from kaixu.metering.http_transport import HttpTransport


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The gateway runs on uvloop, tests and plugins of others on asyncio's own loop."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """The transport that the gateway uses."""
    transport = open_transport()
    yield transport
    await transport.aclose()
