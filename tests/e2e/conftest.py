"""Whole systems: a vendor's stand-in, any number of gateway processes, one database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from kaixu.store.pool import open_pool
from tests.support.process import Process, config_for
from tests.support.vendor import Vendor
from tests.vendors.stage import database, gateway

MODELS = (
    "ok", "stream-50-5", "stream-200-20", "stream-3000-20", "stream-8-0", "status-500", "status-429", "status-400", "status-401", "cut-3", "nonsense", "greedy", "burst",
    "silent", "hang",
)  # fmt: skip

Start = Callable[..., Awaitable[list[Process]]]


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    """A vendor's stand-in."""
    vendor = Vendor()
    await vendor.start()
    yield vendor
    await vendor.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client's connections, as many as it likes."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        yield session


@pytest.fixture(scope="module")
def refusing(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A gateway that a module's tests share to be refused by: its vendor does not listen."""
    config = config_for("http://127.0.0.1:1/v1", *MODELS, gateway="jobs: {workers: 4}")
    with database(server_dsn, pristine) as dsn, gateway(tmp_path_factory.mktemp("refusing"), dsn, config) as process:
        yield process


@pytest.fixture
async def refusing_pool(refusing: Process) -> AsyncIterator[asyncpg.Pool]:
    """Connections to its database."""
    pool = await open_pool(refusing.environment["DATABASE_URL"])
    yield pool
    await pool.close()


@pytest.fixture
async def start(tmp_path: Path, dsn: str, vendor: Vendor) -> AsyncIterator[Start]:
    """Start gateways that share the test's database; they are stopped at its end."""
    running: list[Process] = []

    async def start(count: int = 1, *, gateway: str = "", lane: str = "", **environment: str) -> list[Process]:
        config = config_for(vendor.url, *MODELS, gateway=gateway, lane=lane)
        made = [Process(tmp_path / f"gateway{len(running) + at}", dsn, config, **environment) for at in range(count)]
        running.extend(made)
        for process in made:
            await process.start()
        return made

    yield start
    for process in running:
        await process.stop()
