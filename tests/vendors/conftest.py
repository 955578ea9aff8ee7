"""One stage for all tests of vendors; each has a customer and a key of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import pytest

from tests.support.aimock import Aimock
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key

from .doors import DOORS, Question, Said
from .stage import Stage, stage

Ask = Callable[..., Awaitable[Said]]


@pytest.fixture(scope="session")
def staged(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The stage."""
    with stage(server_dsn, pristine, tmp_path_factory.mktemp("vendors")) as made:
        yield made


@pytest.fixture(scope="session")
def dsn(staged: Stage) -> str:
    """Its database, in the place of each test's own."""
    return staged.dsn


@pytest.fixture
def aimock(staged: Stage) -> Iterator[Aimock]:
    """The vendor, calm and with an empty journal."""
    staged.aimock.calm()
    yield staged.aimock
    staged.aimock.calm()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client's connections."""
    async with aiohttp.ClientSession() as session:
        yield session


class Payer(NamedTuple):
    """A customer with a key."""

    pool: asyncpg.Pool
    id: int
    key: str

    async def paid_nusd(self) -> int:
        """What was billed so far; nothing is held any more, and all books balance."""
        await assert_books_balance(self.pool)
        spent, held = await spent_and_held(self.pool, self.id)
        assert held == 0
        return spent

    async def events(self) -> list[dict[str, Any]]:
        """Its usage events, oldest first."""
        rows = await self.pool.fetch(
            """
            select end_reason, usage_source, input_tokens, output_tokens, cost_nusd
              from kaixu.usage_event where customer_id = $1 order by id
            """,
            self.id,
        )
        return [dict(row) for row in rows]

    async def left(self) -> dict[str, Any]:
        """Its only usage event, once it is there: of a call that nobody waited for."""
        async with asyncio.timeout(10):
            while not (events := await self.events()):
                await asyncio.sleep(0.02)
        [event] = events
        return event


@pytest.fixture
async def payer(pool: asyncpg.Pool) -> Payer:
    """A customer of this test's own."""
    customer_id = await customer(pool)
    return Payer(pool, customer_id, (await virtual_key(pool, customer_id))[1])


@pytest.fixture
async def ask(staged: Stage, http: aiohttp.ClientSession, payer: Payer) -> Ask:
    """Ask one of the doors something."""

    async def ask(door: str, lane: str, words: str, **how: Any) -> Said:
        return await DOORS[door].ask(http, staged.gateway.url, payer.key, Question(lane, words, **how))

    return ask
