"""DB_ENCRYPTION_KEY is replaced while two gateways with an integration serve."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.cluster import Cluster
from tests.support.money import customer, virtual_key
from tests.support.process import SECRETS, Process
from tests.support.size import SLOW

PLUGIN = """
import msgspec
from kaixu.plugin import Free, Integration, Operation, Secret, hookimpl

class Say(msgspec.Struct):
    words: str = ""

class Said(msgspec.Struct):
    notes: int
    token: str

async def note(call):
    async with call.db() as db:
        await db.execute("insert into note (words) values ($1)", call.body.words)
        await db.execute("select pg_sleep(0.1)")
        count = await db.fetchval("select count(*) from note")
    return Said(count, await call.secrets.get("token"))

@hookimpl
def register_integrations(register):
    register(Integration("mine", schema="tables", secrets=[Secret("token", title="A token")],
                         operations=[Operation("mine.note", note, Say, Free("a test"))]))
"""
CONFIG = "integrations: {mine: {plugin: ./mine}}\n"
OLD, NEW = SECRETS["DB_ENCRYPTION_KEY"], "another-encryption-key-0123456789"

#: docs/operators/secrets.md: what each gateway has after each step.
STEPS: list[dict[str, str]] = [
    {"DB_ENCRYPTION_KEY": OLD, "DB_ENCRYPTION_KEY_OLD": NEW},
    {"DB_ENCRYPTION_KEY": NEW, "DB_ENCRYPTION_KEY_OLD": OLD},
    {"DB_ENCRYPTION_KEY": NEW, "DB_ENCRYPTION_KEY_OLD": ""},
]


@pytest.fixture
async def server() -> AsyncIterator[Cluster]:
    """A Postgres that asks for passwords, with a user for the gateway that is no superuser."""
    cluster = await asyncio.to_thread(Cluster.made)
    try:
        await asyncio.to_thread(cluster.start)
        connection = await asyncpg.connect(cluster.dsn())
        await connection.execute("create role kaixu login createrole password 'a-password'")
        await connection.execute("create database kaixu owner kaixu")
        await connection.close()
        connection = await asyncpg.connect(cluster.dsn(database="kaixu"))
        await connection.execute("create extension vector")
        await connection.close()
        yield cluster
    finally:
        await asyncio.to_thread(cluster.remove)


async def test_the_key_and_the_database_s_password_are_replaced_and_no_call_fails(
    server: Cluster, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    dsn = server.dsn("kaixu", "a-password", "kaixu")
    gateways = [Process(tmp_path / f"gateway{at}", dsn, CONFIG) for at in range(2)]
    for gateway in gateways:
        (gateway.home / "mine" / "tables").mkdir(parents=True)
        (gateway.home / "mine" / "__init__.py").write_text(PLUGIN)
        (gateway.home / "mine" / "tables" / "0001_note.sql").write_text("create table note (words text not null);")
        await gateway.start()
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    superuser = await asyncpg.connect(server.dsn(database="kaixu"))
    try:
        _, key = await virtual_key(pool, await customer(pool))
        done = 0

        async def calls(gateway: Process, count: int) -> None:
            """Calls at once, each of which writes to the integration's table and reads the customer's secret."""
            nonlocal done
            url, headers = f"{gateway.url}/v1/mine/note", {"authorization": f"Bearer {key}"}

            async def call() -> tuple[int, Any, Any]:
                async with http.post(url, json={"words": "x"}, headers=headers) as response:
                    answer = await response.json()
                    return response.status, answer.get("code"), answer.get("token")

            answers = await asyncio.gather(*(call() for _ in range(count)))
            assert answers == [(200, None, "the token")] * count
            done += count

        async def restarted(gateway: Process, **environment: str) -> None:
            """Restart a gateway with another environment, then call both."""
            assert await gateway.stop() == 0
            gateway.environment |= environment
            await gateway.start()
            await calls(gateway, 1)
            # The other one has one connection of the integration, and must log in for the others.
            await calls(next(one for one in gateways if one is not gateway), 3)

        await set_secret(http, gateways[0], "the token")
        for gateway in gateways:
            await calls(gateway, 1)
        for step in STEPS:
            for gateway in gateways:
                await restarted(gateway, **step)
            if step is STEPS[1]:
                sealed = await pool.fetchval("select sealed from kaixu.integration_secret")
                ran = await gateways[0].command("secrets", "reseal", "--json")
                assert (ran.returncode, json.loads(ran.stdout)["unreadable"]) == (0, 0), ran.stderr
                assert await pool.fetchval("select sealed from kaixu.integration_secret") != sealed
        refused = await gateways[0].command("check", DB_ENCRYPTION_KEY=OLD)
        assert "DB_ENCRYPTION_KEY is not the one of this database" in refused.stdout + refused.stderr
        if SLOW:  # the database's password, with a second role that acts as the first
            await superuser.execute(
                "create role kaixu_2 login password 'another-password' in role kaixu; alter role kaixu_2 set role kaixu"
            )
            for gateway in gateways:
                await restarted(gateway, DATABASE_URL=server.dsn("kaixu_2", "another-password", "kaixu"))
            await superuser.execute("alter role kaixu nologin")
            for gateway in gateways:
                await restarted(gateway)
        assert await superuser.fetchval("select count(*) from kaixu_mine.note") == done
    finally:
        for gateway in gateways:
            await gateway.stop()
        await superuser.close()
        await pool.close()


async def set_secret(http: aiohttp.ClientSession, gateway: Process, token: str) -> None:
    """Set the customer's secret at the integration, as an operator does."""
    async with http.post(f"{gateway.url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as response:
        admin: dict[str, Any] = await response.json()
    async with http.put(
        f"{gateway.url}/api/admin-integration-secrets",
        json={"customer_id": 1, "integration": "mine", "name": "token", "value": token},
        headers={"authorization": f"Bearer {admin['token']}"},
    ) as response:
        assert response.status < 300, await response.text()
