"""One gateway and one stand-in for each file of tests; a customer for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from kaixu.store.pool import open_pool
from tests.support.process import Process
from tests.vendors.stage import database

from .shop import Shop, shop_process
from .stand_in import Stripe, stand_in


@pytest.fixture(scope="module")
def stripe_of_file() -> Iterator[Stripe]:
    with stand_in() as one:
        yield one


@pytest.fixture(scope="module")
def process(
    server_dsn: str, pristine: str, stripe_of_file: Stripe, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    with database(server_dsn, pristine) as dsn:
        one = shop_process(tmp_path_factory.mktemp("shop"), dsn, stripe_of_file.port)
        try:
            yield asyncio.run(one.start())
        finally:
            asyncio.run(one.stop())


@pytest.fixture
def stripe(stripe_of_file: Stripe) -> Iterator[Stripe]:
    """The stand-in. It complains of requests that Stripe would not understand."""
    stripe_of_file.faults.clear()
    stripe_of_file.reading_faults.clear()
    stripe_of_file.complaints.clear()
    stripe_of_file.session_amount = stripe_of_file.session_currency = None
    yield stripe_of_file
    assert stripe_of_file.complaints == []


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def shop(process: Process, stripe: Stripe, http: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    pool = await open_pool(process.environment["DATABASE_URL"])
    one = Shop(http, process, pool, stripe)
    one.sent = len(stripe.events)
    yield await one.open()
    await one.settled()
    await pool.close()
