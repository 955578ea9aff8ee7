"""Backups as docs/operators/backup.md describes them, made and restored: `make restore-check`, and a part of `make slow`."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.e2e.test_key_rotation import PLUGIN
from tests.support.cluster import Cluster, user
from tests.support.money import customer, virtual_key
from tests.support.process import Client, Process, config_for
from tests.support.vendor import INPUT_TOKENS, Vendor

#: What a call of the model `ok` costs: four pieces of output.
COST_NUSD = INPUT_TOKENS * 1000 + 4 * 2000
INTEGRATION = "integrations: {mine: {plugin: ./mine}}\n"


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    """A vendor's stand-in."""
    vendor = Vendor()
    await vendor.start()
    yield vendor
    await vendor.stop()


class Site:
    """An operator's site: a Postgres that archives its WAL, and a gateway."""

    def __init__(self, vendor: Vendor, folder: Path, http: aiohttp.ClientSession) -> None:
        self.cluster = Cluster.made()
        self.archive = self.cluster.folder / "archive"
        self.archive.mkdir()
        shutil.chown(self.archive, user())
        self.http = http
        self.config = config_for(vendor.url, "ok", "stream-50-20") + INTEGRATION
        self.folder = folder
        self.gateway: Process
        self.client: Client
        self.key_id = 0

    async def begin(self) -> None:
        """Start both, with a customer and a key."""
        self.cluster.settings = ("archive_mode=on",)
        with (self.cluster.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"archive_command = 'test ! -f {self.archive}/%f && cp %p {self.archive}/%f'\n")
        await asyncio.to_thread(self.cluster.start)
        connection = await asyncpg.connect(self.cluster.dsn())
        await connection.execute("create role kaixu login createrole password 'a-password'")
        await connection.execute("create database kaixu owner kaixu")
        await connection.close()
        await self.sql("create extension vector")
        self.gateway = Process(self.folder, self.dsn(self.cluster), self.config)
        (self.folder / "mine" / "tables").mkdir(parents=True)
        (self.folder / "mine" / "__init__.py").write_text(PLUGIN)
        (self.folder / "mine" / "tables" / "0001_note.sql").write_text("create table note (words text not null);")
        await self.gateway.start()
        pool = await asyncpg.create_pool(self.dsn(self.cluster), min_size=1, max_size=1)
        self.key_id, key = await virtual_key(pool, await customer(pool))
        await pool.close()
        self.client = Client(self.http, self.gateway.url, key)

    @staticmethod
    def dsn(cluster: Cluster) -> str:
        """The gateway's DATABASE_URL."""
        return cluster.dsn("kaixu", "a-password", "kaixu")

    async def sql(self, statement: str) -> Any:
        """One value, as the superuser."""
        connection = await asyncpg.connect(self.cluster.dsn(database="kaixu"))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def calls(self, count: int) -> None:
        """Make so many calls, and notes of the integration."""
        for _ in range(count):
            status, answer = await self.client.chat()
            assert status == 200, answer
            url = f"{self.gateway.url}/v1/mine/note"
            async with self.http.post(url, json={"words": "x"}, headers=self.client.headers) as response:
                assert response.status == 200, await response.text()

    async def figures(self) -> tuple[int, int, int]:
        """Billed calls of models, what the customer has spent, and the notes of the integration."""
        return (
            await self.sql("select count(*) from kaixu.usage_event where provider = 'up'"),
            await self.sql("select coalesce(sum(spent_nusd), 0)::bigint from kaixu.customer_month"),
            await self.sql("select count(*) from kaixu_mine.note"),
        )

    async def reconcile(self) -> dict[str, Any]:
        """`kaixu reconcile`, which must find that all adds up."""
        ran = await self.gateway.command("reconcile", "--json")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        answer: dict[str, Any] = json.loads(ran.stdout)
        return answer

    async def end(self) -> None:
        """Stop both."""
        await self.gateway.stop()
        await asyncio.to_thread(self.cluster.remove)


@pytest.fixture
async def site(vendor: Vendor, tmp_path: Path) -> AsyncIterator[Site]:
    """The site, running."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        site = Site(vendor, tmp_path / "home", http)
        try:
            await site.begin()
            yield site
        finally:
            await site.end()


async def test_a_base_backup_and_wal_restore_a_point_in_time_and_the_spool_is_billed_once(site: Site) -> None:
    await site.calls(3)
    backup = site.cluster.folder / "backup"
    address = ["-h", "127.0.0.1", "-p", str(site.cluster.port), "-U", "postgres"]
    await asyncio.to_thread(
        site.cluster.run, "pg_basebackup", *address, "-D", str(backup), "-c", "fast", "-X", "stream"
    )
    await site.calls(2)  # after the backup: in the archive only
    point = await site.sql("select clock_timestamp()::text")
    await site.calls(4)  # after the point in time: these bills are lost with the database
    assert await site.figures() == (9, 9 * COST_NUSD, 9)
    await site.sql("select pg_switch_wal()")

    # A stream runs while the database dies: its bill goes to the spool.
    stream = asyncio.ensure_future(site.client.stream("stream-50-20", max_tokens=50))
    async with asyncio.timeout(30):
        while not await site.sql("select count(*) from kaixu.reservation"):
            await asyncio.sleep(0.02)
    await asyncio.to_thread(site.cluster.stop, "immediate")
    status, frames = await stream
    assert (status, frames[-1][0]) == (200, "done")
    spool = site.folder / "spool"
    assert [path.suffix for path in spool.iterdir() if path.is_file()] == [".jsonl"]
    assert await site.gateway.stop() == 0

    # Restore: the backup, the archive, the point.
    damaged = site.cluster.data
    site.cluster.data = backup
    with (backup / "postgresql.auto.conf").open("a") as file:
        file.write(f"restore_command = 'cp {site.archive}/%f %p'\nrecovery_target_time = '{point}'\n")
        file.write("recovery_target_action = 'promote'\narchive_mode = off\n")
    (backup / "recovery.signal").touch()
    shutil.rmtree(damaged)
    site.cluster.settings = ()
    await asyncio.to_thread(site.cluster.start)
    async with asyncio.timeout(60):
        while await site.sql("select pg_is_in_recovery()"):
            await asyncio.sleep(0.05)
    assert await site.figures() == (5, 5 * COST_NUSD, 5)

    # The same data folder: its spool is replayed. The restored database does not know that call's hold, and bills it
    # all the same, once.
    await site.gateway.start()
    async with asyncio.timeout(60):
        while any(path.is_file() for path in spool.iterdir()):
            await asyncio.sleep(0.05)
    streamed = INPUT_TOKENS * 1000 + 50 * 2000
    assert await site.figures() == (6, 5 * COST_NUSD + streamed, 5)
    assert (await site.reconcile())["differences"] == []
    assert await site.gateway.stop() == 0
    await site.gateway.start()
    await site.calls(1)
    assert await site.figures() == (7, 6 * COST_NUSD + streamed, 6)
    await site.reconcile()


async def test_a_dump_is_restored_on_another_server(site: Site) -> None:
    await site.calls(3)
    folder = site.cluster.folder
    address = ["-h", "127.0.0.1", "-p", str(site.cluster.port), "-U", "postgres"]
    roles = await asyncio.to_thread(site.cluster.run, "pg_dumpall", *address, "--roles-only")
    await asyncio.to_thread(site.cluster.run, "pg_dump", *address, "-Fc", "-f", str(folder / "kaixu.dump"), "kaixu")
    await site.calls(1)  # not in the dump
    assert await site.gateway.stop() == 0
    other = await asyncio.to_thread(Cluster.made)
    before, site.cluster = site.cluster, other
    try:
        await asyncio.to_thread(other.start)
        (other.folder / "roles.sql").write_text(
            "\n".join(line for line in roles.splitlines() if "ROLE postgres" not in line and not line.startswith("\\"))
        )
        address = ["-h", "127.0.0.1", "-p", str(other.port), "-U", "postgres"]
        await asyncio.to_thread(
            other.run, "psql", *address, "-q", "-v", "ON_ERROR_STOP=1", "-f", str(other.folder / "roles.sql")
        )
        await asyncio.to_thread(other.run, "createdb", *address, "-O", "kaixu", "kaixu")
        dump = str(folder / "kaixu.dump")
        await asyncio.to_thread(other.run, "pg_restore", *address, "-d", "kaixu", "--exit-on-error", dump)
        assert await site.figures() == (3, 3 * COST_NUSD, 3)
        site.gateway.environment["DATABASE_URL"] = site.dsn(other)
        await site.gateway.start()
        assert (await site.reconcile())["differences"] == []
        await site.calls(2)
        assert await site.figures() == (5, 5 * COST_NUSD, 5)
    finally:
        await asyncio.to_thread(before.remove)
