"""One gateway and one stand-in for all files of tests; a customer for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from kaixu.store.pool import open_pool
from tests.support.process import Process
from tests.vendors.stage import database

from .server import stand_in
from .shop import Shop, away_from_midnight, shop_process
from .stand_in import Stripe


@pytest.fixture(scope="session")
def only_stripe() -> Iterator[Stripe]:
    with stand_in() as one:
        yield one


@pytest.fixture(scope="session")
def process(
    server_dsn: str, pristine: str, only_stripe: Stripe, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    with database(server_dsn, pristine) as dsn:
        one = shop_process(tmp_path_factory.mktemp("shop"), dsn, only_stripe.port)
        try:
            yield asyncio.run(one.start())
        finally:
            asyncio.run(one.stop())


@pytest.fixture
def stripe(only_stripe: Stripe) -> Iterator[Stripe]:
    """The stand-in. It complains of requests that Stripe would not understand."""
    only_stripe.faults.clear()
    only_stripe.reading_faults.clear()
    only_stripe.complaints.clear()
    only_stripe.slow_reading_s, only_stripe.slow_readings = 0.0, 0
    only_stripe.session_amount = only_stripe.session_currency = None
    yield only_stripe
    assert only_stripe.complaints == []


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def shop(process: Process, stripe: Stripe, http: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    await away_from_midnight()
    pool = await open_pool(process.environment["DATABASE_URL"])
    one = Shop(http, process, pool, stripe)
    one.sent = len(stripe.events)
    yield await one.open()
    await one.settled()
    await pool.close()
