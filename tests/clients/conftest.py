"""One stage for all tests of clients; each has a customer of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from tests.support.aimock import MODULES, NODE
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.vendors.stage import EMBEDDERS, MODELS, Stage, stage

WRONG_KEY = "kx_live_" + "x" * 48
HERE = Path(__file__).parent
#: What of our own environment a script needs.
KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH")
BILLED = """
    select count(*) as calls, sum(cost_nusd)::bigint as cost_nusd from kaixu.usage_event
     where customer_id = $1 and operation = 'chat' and end_reason = 'complete' and usage_source = 'provider'
"""


def pytest_configure(config: pytest.Config) -> None:
    """The marker that `matrix.proves` sets."""
    config.addinivalue_line("markers", "proves(client, door, feature, lanes): what a test of clients proves")


class Keys(NamedTuple):
    """A customer's key; one of a customer who can afford nothing; one that may ask once a minute; and none of ours."""

    customer_id: int
    good: str
    poor: str
    slow: str
    wrong: str = WRONG_KEY


async def made_keys(pool: asyncpg.Pool | asyncpg.Connection) -> Keys:
    """New keys."""
    rich, poor = await customer(pool), await customer(pool, cap_nusd=1)
    good, slow = await virtual_key(pool, rich), await virtual_key(pool, rich, rpm_limit=1)
    return Keys(rich, good[1], (await virtual_key(pool, poor))[1], slow[1])


@pytest.fixture(scope="session")
def staged(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The stage."""
    with stage(server_dsn, pristine, tmp_path_factory.mktemp("clients")) as made:
        yield made


@pytest.fixture(scope="session")
def dsn(staged: Stage) -> str:
    """Its database, in the place of each test's own."""
    return staged.dsn


@pytest.fixture(scope="session")
def url(staged: Stage) -> str:
    """The gateway's address."""
    return staged.gateway.url


@pytest.fixture
async def keys(pool: asyncpg.Pool) -> Keys:
    """Keys of this test's own."""
    return await made_keys(pool)


@pytest.fixture
async def paid(pool: asyncpg.Pool, keys: Keys) -> AsyncIterator[Callable[[], Any]]:
    """What the customer has paid, in nano-dollars; in the end nothing is held and all books balance."""

    async def paid_nusd() -> int:
        spent, held = await spent_and_held(pool, keys.customer_id)
        assert held == 0
        return spent

    yield paid_nusd
    await assert_books_balance(pool)


Results = dict[str, Any]
Run = Callable[[str], Results]


@pytest.fixture(scope="session")
def run(staged: Stage, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a script of this folder in one process, and read what it prints: the result of each thing it tried.

    `billed` is put beside it: what the chats came to that were answered to their end.
    """

    async def prepare() -> Keys:
        connection = await asyncpg.connect(staged.dsn)
        try:
            return await made_keys(connection)
        finally:
            await connection.close()

    async def billed(customer_id: int) -> Results:
        connection = await asyncpg.connect(staged.dsn)
        try:
            await assert_books_balance(connection)
            return dict(await connection.fetchrow(BILLED, customer_id) or {})
        finally:
            await connection.close()

    def run(script: str) -> Results:
        keys = asyncio.run(prepare())
        environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "GATEWAY": staged.gateway.url,
            "KEYS": json.dumps(keys._asdict()),
            "LANES": json.dumps({lane: f"{lane}/{model}" for lane, model in MODELS.items()}),
            "EMBEDDERS": json.dumps(EMBEDDERS),
            "SCRATCH": str(tmp_path_factory.mktemp("scratch")),
        }
        # Node looks for packages beside the script, unless it comes through the input: then where it is run.
        node = script.endswith(".mjs")
        command = [str(NODE), "--input-type=module"] if node else [sys.executable, "-W", "ignore", "-"]
        done = subprocess.run(
            command,
            input=(HERE / script).read_text(encoding="utf-8"),
            capture_output=True,
            cwd=MODULES if node else HERE,
            env=environment,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        results: Results = json.loads(done.stdout.splitlines()[-1])
        return results | {"billed": asyncio.run(billed(keys.customer_id))}

    return run
