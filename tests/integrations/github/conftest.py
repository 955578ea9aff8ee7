"""A gateway with GitHub push, and GitHub as a stand-in, shared by the tests of a module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import asyncpg
import pytest

from kaixu.store.pool import open_pool
from tests.support.process import Process
from tests.vendors.stage import database

from .pusher import Pusher, new_pusher
from .stand_in import GitHubServer, github_server
from .stand_in_oauth import CLIENT_ID, CLIENT_SECRET

CONFIG = """
gateway: {{jobs: {{workers: 4, lease_s: 2}}, database: {{general: 5, searches: 2, integration: 5}}, reservation_s: 5}}
integrations:
  github:
    client_id: {client_id}
    client_secret: {client_secret}
    api_base: {url}/api/v3
    web_base: {url}
    write_pause_s: 0
    price: {{push: 0.10, gib: 0.25, base: 1}}
    grants: [customers]
    {more}
"""


def config_of(server: GitHubServer, more: str = "") -> str:
    """The kaixu.yaml of such a gateway; `more`: further options."""
    return CONFIG.format(url=server.url, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, more=more)


class Stage(NamedTuple):
    """What the tests of a module share."""

    server: GitHubServer
    gateway: Process
    dsn: str


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHubServer]:
    """GitHub."""
    with github_server(tmp_path_factory.mktemp("github")) as server:
        yield server
    assert server.problems == []


@contextmanager
def staged(server: GitHubServer, server_dsn: str, pristine: str, home: Path, options: str) -> Iterator[Stage]:
    """A gateway with further options, and a database of its own."""
    with database(server_dsn, pristine) as dsn:
        process = Process(home, dsn, config_of(server, options))
        process.environment["GATEWAY_URL"] = process.url
        asyncio.run(process.start())
        yield Stage(server, process, dsn)
        assert asyncio.run(process.stop()) == 0


@pytest.fixture(scope="session")
def common_stage(
    server_dsn: str, pristine: str, server: GitHubServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """The gateway of all modules that need no options."""
    with staged(server, server_dsn, pristine, tmp_path_factory.mktemp("pushes"), "") as stage:
        yield stage


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest,
    server_dsn: str,
    pristine: str,
    server: GitHubServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """A gateway with the options in the module's `OPTIONS`, or the common one."""
    options: str = getattr(request.module, "OPTIONS", "")
    if not options:
        common: Stage = request.getfixturevalue("common_stage")
        yield common
        return
    with staged(server, server_dsn, pristine, tmp_path_factory.mktemp("pushes"), options) as stage:
        yield stage


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """What clients send with."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def pool(stage: Stage) -> AsyncIterator[asyncpg.Pool]:
    """Connections to the gateway's database."""
    pool = await open_pool(stage.dsn)
    yield pool
    await pool.close()


@pytest.fixture
async def ada(stage: Stage, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> Pusher:
    """A new customer with a stored token and an empty repository of its own, without faults at GitHub."""
    stage.server.faults.clear()
    stage.server.truncates = False
    return await new_pusher(stage.server, stage.gateway, pool, http)
