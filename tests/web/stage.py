"""A seeded gateway and a browser without pytest: for pictures and measures."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from playwright.sync_api import Browser

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
from tests.conftest import memory, with_database

from .blocking import run
from .browser import Chromium
from .gateway import Gateway, config_of, copy_of, execute, running
from .seeding import seeded
from .vendor import page_vendor

SEEDED = "kaixu_web_seed"


async def make_database(server_dsn: str, name: str) -> None:
    """A migrated, empty database."""
    await execute(server_dsn, f"create database {name}")
    connection = await asyncpg.connect(with_database(server_dsn, name))
    try:
        await migrate(connection)
        await ensure_partitions(connection)
    finally:
        await connection.close()


@contextmanager
def seeded_gateway(**environment: str) -> Iterator[Gateway]:
    """A gateway as the tests of pages have it, with a Postgres of its own; all of it is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="kaixu-pages-", dir=memory()))
    home.chmod(0o755)
    embedded = EmbeddedPostgres(home / "postgres")
    try:
        server_dsn = embedded.start()
        run(make_database(server_dsn, SEEDED))
        with page_vendor() as vendor:
            config = config_of(vendor.url)
            seed = seeded(server_dsn, SEEDED, home / "seed", config)
            with (
                copy_of(server_dsn, SEEDED) as dsn,
                running(home / "gateway", dsn, config, seed, **environment) as gateway,
            ):
                yield gateway
    finally:
        embedded.server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser."""
    chromium = Chromium()
    try:
        with chromium.in_use() as browser:
            yield browser
    finally:
        chromium.stop()
