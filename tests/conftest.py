"""A real Postgres for every test that needs one: a fresh database, copied from a migrated template."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
from kaixu.store.pool import open_pool
from tests.support.operators import insert_session
from tests.support.passwords import hash_with_little_work
from tests.support.size import examples

#: Files with a test that takes long, the longest first: a run that began one of them last would wait for it alone.
LONG_FILES = (
    "docs/test_plugins_page.py",
    "e2e/test_third_party_integration.py",
    "store/test_money_properties.py",
    "docs/test_sdks.py",
    "cli/test_plugin_new.py",
    "integrations/github/test_github_contract.py",
    "integration_proof/test_command.py",
    "integration_proof/test_parcel.py",
    "docs/test_readme.py",
    "e2e/test_job_chaos.py",
    "e2e/test_installed.py",
    "e2e/test_crashes.py",
    "e2e/test_reload.py",
    "e2e/test_odd_json.py",
    "vendors/test_chaos.py",
    "attack/test_storm.py",
    "integrations/push/test_push_contract.py",
    "integrations/push/test_push_failures.py",
    "integrations/push/test_push_chaos.py",
)

# How long an example takes, or how long it takes to make one, says nothing on a busy machine.
settings.register_profile(
    "kaixu", max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("kaixu")

hash_with_little_work()

PRISTINE = "kaixu_pristine"
TEMPLATE = "kaixu_template"


def with_database(dsn: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long files first, then those with the most tests. Workers take one file at a time, in this order."""
    root = Path(__file__).parent
    ranks = {root / name: rank for rank, name in enumerate(LONG_FILES)}
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (ranks.get(item.path, len(ranks)), -sizes[item.path], str(item.path)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Execute what a test marked `own_process` starts, instead of forking it: see tests/support/kaixu.py."""
    before = os.environ.get("KAIXU_TEST_EXEC")
    if item.get_closest_marker("own_process") is None or before:
        return (yield)
    os.environ["KAIXU_TEST_EXEC"] = "1"
    try:
        return (yield)
    finally:
        del os.environ["KAIXU_TEST_EXEC"]


def memory() -> Path | None:
    """A folder in memory, where there is one with room for two servers: a database is copied there in 20 ms.

    On a disk it takes 130 ms, all of it work for the processor, and the suite copies some 3,000.
    """
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > 2 * 1024**3 else None


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """A Postgres server for the whole run: the embedded one, or the one of KAIXU_TEST_DATABASE_URL."""
    given = os.environ.get("KAIXU_TEST_DATABASE_URL")
    if given:
        yield given
        return
    home = Path(tempfile.mkdtemp(prefix="kaixu-tests-", dir=memory()))
    home.chmod(0o755)
    embedded = EmbeddedPostgres(home)
    yield embedded.start()
    embedded.server.cleanup()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def pristine(server_dsn: str) -> str:
    """The name of a migrated, empty database that every test's own is copied from.

    Nobody connects to it: what is done there and rolled back has still moved its sequences on.
    """

    async def make() -> None:
        connection = await asyncpg.connect(server_dsn)
        await connection.execute(f"drop database if exists {PRISTINE}")
        await connection.execute(f"create database {PRISTINE}")
        migrated = await asyncpg.connect(with_database(server_dsn, PRISTINE))
        await migrate(migrated)
        await ensure_partitions(migrated)
        await insert_session(migrated)
        await migrated.close()
        await connection.execute(f"alter database {PRISTINE} allow_connections false")
        await connection.close()

    asyncio.run(make())
    return PRISTINE


@pytest.fixture(scope="session")
def template(server_dsn: str, pristine: str) -> str:
    """The name of a migrated, empty database to work in, for tests that roll back all they do."""

    async def make() -> None:
        connection = await asyncpg.connect(server_dsn)
        await connection.execute(f"drop database if exists {TEMPLATE}")
        await connection.execute(f"create database {TEMPLATE} template {pristine}")
        await connection.close()

    asyncio.run(make())
    return TEMPLATE


@asynccontextmanager
async def copied(server_dsn: str, template: str) -> AsyncIterator[str]:
    """A copy of a database that nobody is connected to, dropped at the end."""
    name = f"kaixu_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(server_dsn)
    try:
        # Its files are copied: through the log, as is Postgres' default, it takes twice the work.
        await connection.execute(f"create database {name} template {template} strategy file_copy")
        yield with_database(server_dsn, name)
        await connection.execute(f"drop database {name} with (force)")
    finally:
        await connection.close()


@pytest.fixture
async def dsn(server_dsn: str, pristine: str) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    async with copied(server_dsn, pristine) as dsn:
        yield dsn


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """Connections to it, as the gateway opens them."""
    pool = await open_pool(dsn)
    yield pool
    await pool.close()
