"""A gateway with KaixuPush that the tests of a file share, a stand-in of Netlify before it, and a customer for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import asyncpg
import pytest

from kaixu.store.pool import open_pool
from tests.support.process import Process, free_port
from tests.vendors.stage import database

from .stand_in import OPERATOR, Netlify
from .station import CONFIG, Station


@pytest.fixture(scope="module")
def shared_gateway(
    server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Process, int]]:
    """A gateway, and the port on which it expects Netlify."""
    port = free_port()
    config = CONFIG.format(url=f"http://127.0.0.1:{port}/api/v1", token=OPERATOR, more="")
    with database(server_dsn, pristine) as dsn:
        gateway = Process(tmp_path_factory.mktemp("push") / "gateway", dsn, config, ADMIN_PASSWORD_HEADER="true")
        asyncio.run(gateway.start())
        yield gateway, port
        assert asyncio.run(gateway.stop()) == 0


@pytest.fixture
async def pool(shared_gateway: tuple[Process, int]) -> AsyncIterator[asyncpg.Pool]:
    """Connections to the gateway's database."""
    pool = await open_pool(shared_gateway[0].environment["DATABASE_URL"])
    yield pool
    await pool.close()


@pytest.fixture
async def netlify(shared_gateway: tuple[Process, int]) -> AsyncIterator[Netlify]:
    """A Netlify of the test's own. What it was sent agreed with Netlify's description."""
    netlify = Netlify()
    await netlify.start(shared_gateway[1])
    yield netlify
    await netlify.stop()
    assert netlify.mistakes == []
    assert "" not in netlify.user_agents


@pytest.fixture
async def station(shared_gateway: tuple[Process, int], netlify: Netlify, pool: asyncpg.Pool) -> AsyncIterator[Station]:
    """A customer with a token and a project."""
    async with aiohttp.ClientSession() as http:
        yield await Station(http, shared_gateway[0], netlify).open()
        # Else its jobs would ask the next test's Netlify, which does not know them.
        await pool.execute(
            "update kaixu.job set status = 'cancelled', completed_at = now() where completed_at is null and status = 'queued'"
        )
