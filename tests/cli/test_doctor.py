"""`kaixu doctor` and the gateway that runs, wherever that is."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kaixu.collections.keeper import CollectionKeeper
from kaixu.store import vector_index
from kaixu.store.pool import maintenance
from kaixu.store.spool import Spool
from tests.support.money import customer
from tests.support.process import Process
from tests.support.settlements import settlement

from .conftest import CONFIG, Piped


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str) -> AsyncIterator[Process]:
    """A gateway with a data folder of its own."""
    process = Process(tmp_path / "gateway", dsn, CONFIG)
    yield await process.start()
    await process.stop()


async def rows(gateway: Process, **environment: str) -> dict[str, dict[str, Any]]:
    """What doctor finds, by what it looked at."""
    ran = await gateway.command("doctor", "--json", **environment)
    assert "Traceback" not in ran.stderr
    found = {row["what"]: row for row in json.loads(ran.stdout)}
    assert ran.returncode == any(row["state"] == "wrong" for row in found.values())
    return found


async def test_doctor_describes_the_gateway_of_its_data_folder(gateway: Process) -> None:
    found = await rows(gateway)
    assert gateway.process is not None
    for part in (f"process {gateway.process.pid} since", gateway.url, "hypercorn", str(gateway.home)):
        assert part in found["gateway"]["detail"]
    names = ("gateway", "gateway's health", "gateway's database", "gateway's config", "spool", "refused settlements")
    assert [found[name]["state"] for name in names] == ["ok"] * 6
    assert found["gateway's health"]["detail"] == "200: 0 calls in flight"
    assert found["gateway's config"]["detail"] == str(gateway.config)
    assert await gateway.stop() == 0
    found = await rows(gateway)
    assert (found["gateway"]["state"], found["gateway"]["detail"]) == (
        "off",
        f"none runs with data folder {gateway.home}",
    )


async def test_doctor_says_where_the_shell_means_something_else_than_the_gateway(
    gateway: Process, server_dsn: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG)
    found = await rows(gateway, DATABASE_URL=server_dsn, KAIXU_CONFIG=str(other))
    assert found["gateway's database"]["state"] == "wrong"
    assert "DATABASE_URL here says" in found["gateway's database"]["detail"]
    assert found["gateway's config"]["state"] == "wrong"
    assert found["gateway's config"]["detail"] == f"{gateway.config}; KAIXU_CONFIG here says {other}"


async def test_behind_a_pooler_doctor_counts_no_gateways(gateway: Process) -> None:
    found = (await rows(gateway, KAIXU_POOLER="true"))["connections"]
    assert found["state"] == "ok"
    assert found["detail"].startswith("at most 20 to the pooler for each process of gateways; ")


async def test_doctor_finds_a_gateway_with_another_data_folder_and_what_it_could_not_settle(
    gateway: Process, tmp_path: Path
) -> None:
    refused = Spool(gateway.home / "spool" / "refused", "kept")
    refused.append([settlement()])
    assert refused.file is not None
    refused.file.close()
    found = await rows(gateway, KAIXU_HOME=str(tmp_path / "elsewhere"))
    assert gateway.process is not None
    assert found["gateway"]["state"] == "off"
    its = found[f"gateway in {gateway.home}"]["detail"]
    assert f"process {gateway.process.pid}" in its
    assert "database " in its
    lost = found[f"refused settlements in {gateway.home}"]
    assert (lost["state"], lost["detail"]) == ("wrong", f"1 in {gateway.home / 'spool' / 'refused'}")


def test_doctor_says_if_links_cannot_be_mailed_or_no_owner_can_log_in(piped: Piped, tmp_path: Path) -> None:
    def found(more: str = "", **environment: str) -> dict[str, dict[str, Any]]:
        (tmp_path / "kaixu.yaml").write_text(f"{CONFIG}{more}\n")
        return {row["what"]: row for row in json.loads(piped("doctor", "--json", **environment).stdout)}

    assert not {"links", "logins"} & set(found())
    mail = "mail: {host: 127.0.0.1, from: a@example.com, tls: none}\nselfservice: {mode: email}\n"
    assert "refuses everybody" in found(mail)["links"]["detail"]
    assert "links" not in found(mail, GATEWAY_URL="https://ai.example.com")
    locked = "operators: {admin_password: false}"
    assert found(locked)["logins"]["state"] == "off"
    assert found(ADMIN_PASSWORD_LOGIN="false")["logins"]["state"] == "off"
    piped("operators", "create", "ada@example.com", "--role", "owner", "--invite")
    assert "logins" in found(locked)  # she has not chosen a password yet
    piped("operators", "reset-password", "ada@example.com")
    assert "logins" not in found(locked)
    piped("operators", "disable", "ada@example.com")
    assert "logins" in found(locked)


async def test_doctor_says_how_collections_are_searched(piped: Piped, dsn: str, pool: asyncpg.Pool) -> None:
    def found() -> dict[str, dict[str, Any]]:
        return {row["what"]: row for row in json.loads(piped("doctor", "--json").stdout)}

    none = found()["collections"]
    assert (none["state"], none["detail"]) == ("ok", "0 with 0 vectors; 0 searched by an index")
    customer_id = await customer(pool)
    small, large, wide = [
        await collection(pool, customer_id, name, vectors=vectors, dimensions=dimensions)
        for name, vectors, dimensions in (("small", 10, 4), ("large", 1_000_000, 4), ("wide", 1_000, 5_000))
    ]
    rows = found()
    assert rows["collections"]["detail"] == "3 with 1,001,010 vectors; 0 searched by an index, 1 waiting for one"
    assert rows["pgvector"]["state"] == "ok"
    assert f"collection {small}" not in rows
    assert "exactly until its indexes are built" in rows[f"collection {large}"]["detail"]
    assert "no index supports more than" in rows[f"collection {wide}"]["detail"]
    assert await CollectionKeeper(pool, lambda: maintenance(dsn)).index(quiet_s=0)
    rows = found()
    assert rows["collections"]["detail"] == "3 with 1,001,010 vectors; 1 searched by an index"
    told = rows[f"collection {large}"]
    shown = told.pop("collection")
    indexes = {one.pop("name"): one for one in shown.pop("indexes")}
    assert told["state"] == "ok"
    assert told["detail"].startswith(
        f"`large` of customer {customer_id}: 1,000,000 vectors of 4, searched by its indexes ("
    )
    assert shown == {
        "id": large,
        "customer_id": customer_id,
        "name": "large",
        "vectors": 1_000_000,
        "dimensions": 4,
        "search": "indexed",
    }
    assert set(indexes) == set(vector_index.names_of(large))
    assert all(one["is_valid"] and one["size_bytes"] > 0 for one in indexes.values())
    table = piped("doctor").stdout
    assert "`large` of customer" in table
    assert "size_bytes" not in table


async def test_doctor_says_if_gateways_share_the_database_but_not_the_files_of_customers(
    piped: Piped, pool: asyncpg.Pool
) -> None:
    def found() -> dict[str, Any]:
        rows: list[dict[str, Any]] = json.loads(piped("doctor", "--json").stdout)
        return next(row for row in rows if row["what"] == "blobs")

    assert (found()["state"], found()["detail"]) == ("ok", "no files of customers")
    for place in ("one:/home/blobs", "two:/home/blobs"):
        await pool.execute("insert into kaixu.blob_store (id, place) values (gen_random_uuid(), $1)", place)
    assert found()["state"] == "wrong"
    assert "one:/home/blobs, two:/home/blobs" in found()["detail"]
    await pool.execute("update kaixu.blob_store set seen_at = now() - interval '1 hour' where place like 'one%'")
    assert (found()["state"], found()["detail"]) == ("ok", "two:/home/blobs")


async def test_doctor_finds_a_pgvector_that_is_too_old_and_an_index_that_is_half_built(
    piped: Piped, dsn: str, pool: asyncpg.Pool
) -> None:
    large = await collection(pool, await customer(pool), "large", vectors=1_000_000, dimensions=4)
    assert await CollectionKeeper(pool, lambda: maintenance(dsn)).index(quiet_s=0)
    near = vector_index.names_of(large)[0]
    await pool.execute("update pg_index set indisvalid = false where indexrelid = $1::text::regclass", f"kaixu.{near}")
    await pool.execute("update pg_extension set extversion = '0.7.4' where extname = 'vector'")
    ran = piped("doctor", "--json")
    rows = {row["what"]: row for row in json.loads(ran.stdout)}
    assert ran.returncode == 1
    assert (rows["pgvector"]["state"], rows["pgvector"]["detail"]) == ("wrong", "0.7.4: 0.8 is needed")
    assert rows[f"collection {large}"]["state"] == "off"
    assert f"{near} 0 MiB INVALID" in rows[f"collection {large}"]["detail"]


async def collection(pool: asyncpg.Pool, customer_id: int, name: str, *, vectors: int, dimensions: int) -> int:
    """A collection that says it holds so many vectors, and holds one."""
    made: int = await pool.fetchval(
        """
        with made as (
            insert into kaixu.collection (customer_id, name, provider, model, dimensions, language, vectors)
            values ($1, $2, 'up', 'words', $3, 'english', $4) returning id, customer_id
        )
        insert into kaixu.document (collection_id, doc_id, customer_id, body, embedding, words)
        select id, 'one', customer_id, 'text', array_fill(1::real, array[$3::integer])::vector, to_tsvector('text')
          from made
        returning collection_id
        """,
        customer_id,
        name,
        dimensions,
        vectors,
    )
    return made


async def test_no_file_of_a_running_gateway_holds_a_secret(gateway: Process) -> None:
    said = (gateway.home / "serve.json").read_text()
    for name in ("ADMIN_PASSWORD", "JWT_SECRET", "KEY_PEPPER", "DB_ENCRYPTION_KEY", "DATABASE_URL"):
        assert gateway.environment[name] not in said
    assert (gateway.home / "serve.json").stat().st_mode & 0o077 == 0


async def test_serve_says_in_json_where_it_listens(gateway: Process, tmp_path: Path) -> None:
    home = tmp_path / "second"
    home.mkdir()
    environment = gateway.environment | {"KAIXU_HOME": str(home), "KAIXU_BIND": "127.0.0.1:0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kaixu", "serve", "--json", env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = json.loads(await process.stdout.readuntil(b"\n}\n"))
    assert said == {
        "url": "http://127.0.0.1:0",
        "pid": process.pid,
        "lanes": {"echo": {"state": "on", "reason": None}},
        "notes": [],
    }
    process.terminate()
    assert await process.wait() == 0
