"""What keeps a command from its work is one line with a hint; what is wrong is said all at once."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from kaixu.store.spool import Spool
from tests.support.kaixu import run_kaixu
from tests.support.process import SECRETS

CONFIG = "lanes:\n  echo:\n    plugin: echo\n    models:\n      chat: {type: chat, price: {input: 1, output: 2}}\n"

Kaixu = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kaixu(tmp_path: Path, dsn: str) -> Kaixu:
    """Run `kaixu …` with the test's database, or as the environment says."""
    (tmp_path / "kaixu.yaml").write_text(CONFIG)

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": os.environ["PATH"], "DATABASE_URL": dsn, "KAIXU_HOME": str(tmp_path), **SECRETS}
        return run_kaixu(*words, environment=given | environment, folder=tmp_path)

    return run


def other(dsn: str, **parts: str) -> str:
    """The same server, asked for something else."""
    return urlunsplit(urlsplit(dsn)._replace(**parts))


NOBODY = "postgresql://nobody:nothing@127.0.0.1:1/nothing"


@pytest.mark.parametrize("words", [("customers", "list"), ("keys", "list", "1"), ("reconcile",), ("migrate",)])
def test_a_database_that_is_away_is_said_in_two_lines(kaixu: Kaixu, words: tuple[str, ...]) -> None:
    ran = kaixu(*words, DATABASE_URL=NOBODY)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("the database does not answer")
    assert "DATABASE_URL" in ran.stderr
    assert len(ran.stderr.splitlines()) == 2


def test_another_gateway_s_database_that_is_away_is_not_ours(kaixu: Kaixu) -> None:
    ran = kaixu("import", "litellm", NOBODY)
    assert ran.stderr.splitlines() == ["that database does not answer", "Check the address."]


def test_a_new_embedded_database_is_told_so_that_a_wrong_folder_does_not_look_empty(tmp_path: Path) -> None:
    (tmp_path / "kaixu.yaml").write_text(CONFIG)
    given = {"PATH": os.environ["PATH"]}
    first, second = (run_kaixu("customers", "list", environment=given, folder=tmp_path) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stderr.startswith(f"note: there was no database in {tmp_path / '.kaixu'}")
    assert second.stderr == ""


@pytest.mark.parametrize("words", [("serve",), ("serve", "--dev"), ("customers", "list"), ("migrate",)])
def test_an_address_that_is_no_database_s_is_said_in_a_line_and_not_repeated(
    kaixu: Kaixu, words: tuple[str, ...]
) -> None:
    ran = kaixu(*words, DATABASE_URL="my-secret")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "DATABASE_URL: must be postgresql://user:password@host:port/database\n"


def test_a_password_that_can_be_guessed_keeps_the_gateway_from_starting(kaixu: Kaixu) -> None:
    ran = kaixu("serve", ADMIN_PASSWORD="12345678901")
    assert (ran.returncode, ran.stderr) == (1, "ADMIN_PASSWORD: at least 12 characters are needed\n")


def test_a_database_that_is_not_there_is_said_in_two_lines(kaixu: Kaixu, dsn: str) -> None:
    ran = kaixu("customers", "list", DATABASE_URL=other(dsn, path="/no_such_database"))
    assert ran.returncode == 1
    assert "no_such_database" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_check_says_what_is_wrong_with_environment_file_and_database_at_once(kaixu: Kaixu, tmp_path: Path) -> None:
    (tmp_path / "kaixu.yaml").write_text(CONFIG.replace("type: chat", "type: chatt"))
    ran = kaixu("check", DATABASE_URL=NOBODY)
    assert ran.returncode == 1
    assert "kaixu.yaml:5:" in ran.stderr
    assert "the database does not answer" in ran.stderr
    ran = kaixu("check", CAP_WARN_PCT="many")
    assert "kaixu.yaml:5:" in ran.stderr
    assert "CAP_WARN_PCT" in ran.stderr


def test_a_plugin_that_does_not_load_is_a_mistake_of_check(kaixu: Kaixu, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_like_this\n")
    lane = "  broken:\n    plugin: ./broken.py\n    models:\n      m: {type: chat, price: {input: 1, output: 2}}\n"
    for more in ("", "    required: true\n"):
        (tmp_path / "kaixu.yaml").write_text(CONFIG + lane.replace("    models", more + "    models"))
        ran = kaixu("check")
        assert ran.returncode == 1
        assert "nothing_like_this" in ran.stderr


def test_doctor_gets_as_far_as_it_can(kaixu: Kaixu, tmp_path: Path, dsn: str) -> None:
    ran = kaixu("doctor", "--json", DATABASE_URL=NOBODY)
    assert ran.returncode == 1
    rows = {row["what"]: row["state"] for row in json.loads(ran.stdout)}
    assert {what: state for what, state in rows.items() if " in /" not in what} == {
        "version": "ok",
        "secrets": "ok",
        "postgres": "wrong",
        "config": "ok",
        "environment": "ok",
        "lane echo": "ok",
        "spool": "ok",
        "refused settlements": "ok",
        "gateway": "off",
    }
    (tmp_path / "kaixu.yaml").write_text("lanes: [")
    rows = {row["what"]: row["state"] for row in json.loads(kaixu("doctor", "--json", KEY_PEPPER="").stdout)}
    assert (rows["config"], rows["secrets"], rows["postgres"], rows["schema"]) == ("wrong", "wrong", "ok", "ok")


async def test_doctor_finds_what_was_left_behind(kaixu: Kaixu, tmp_path: Path, pool: asyncpg.Pool) -> None:
    from tests.support.calls import admit
    from tests.support.money import customer, virtual_key
    from tests.support.settlements import settlement

    spool = Spool(tmp_path / "spool", "dead")
    spool.append([settlement()])
    assert spool.file is not None
    spool.file.close()
    key_id, _ = await virtual_key(pool, await customer(pool))
    await admit(pool, key_id)
    await pool.execute("update kaixu.reservation set expires_at = now() - interval '1 hour'")
    ran = kaixu("doctor", "--json")
    assert ran.returncode == 1
    rows = {row["what"]: row for row in json.loads(ran.stdout)}
    assert rows["reservations"]["state"] == "wrong"
    assert rows["spool"] == {"what": "spool", "state": "off", "detail": "1 settlements wait for the database"}


async def test_asking_what_to_migrate_leaves_nothing_behind(kaixu: Kaixu, server_dsn: str, pool: asyncpg.Pool) -> None:
    name = f"blank_{await pool.fetchval('select oid::text from pg_database where datname = current_database()')}"
    connection = await asyncpg.connect(server_dsn)
    await connection.execute(f"create database {name}")
    try:
        blank = other(server_dsn, path=f"/{name}")
        assert kaixu("migrate", "--dry-run", DATABASE_URL=blank).returncode == 0
        assert kaixu("doctor", DATABASE_URL=blank).returncode == 1
        inside = await asyncpg.connect(blank)
        assert await inside.fetchval("select to_regnamespace('kaixu')") is None
        await inside.close()
    finally:
        await connection.execute(f"drop database {name} with (force)")
        await connection.close()


async def test_a_postgres_without_pgvector_is_said_in_a_line(kaixu: Kaixu, server_dsn: str, pool: asyncpg.Pool) -> None:
    name = f"bare_{await pool.fetchval('select oid::text from pg_database where datname = current_database()')}"
    connection = await asyncpg.connect(server_dsn)
    await connection.execute(f"create database {name}")
    await connection.execute(f"alter database {name} set extension_control_path = '/nowhere'")
    bare = {"DATABASE_URL": other(server_dsn, path=f"/{name}")}
    try:
        for words in (("migrate",), ("migrate", "--dry-run"), ("customers", "list"), ("serve",)):
            ran = await asyncio.to_thread(kaixu, *words, **bare)
            assert (ran.returncode, ran.stdout) == (1, ""), words
            assert re.fullmatch(r".*this Postgres has no pgvector: install pgvector 0\.8 or newer .*\n", ran.stderr), (
                words
            )
        rows = {row["what"]: row for row in json.loads(kaixu("doctor", "--json", **bare).stdout)}
        assert (rows["pgvector"]["state"], rows["schema"]["state"]) == ("wrong", "wrong")
        assert "install pgvector 0.8 or newer" in rows["pgvector"]["detail"]
    finally:
        await connection.execute(f"drop database {name} with (force)")
        await connection.close()


async def test_reconcile_names_the_first_row_that_does_not_add_up(kaixu: Kaixu, pool: asyncpg.Pool) -> None:
    from tests.support.money import customer

    customer_id = await customer(pool)
    await pool.execute(
        "insert into kaixu.customer_month (customer_id, month, spent_nusd) values ($1, '2026-02-01', 5)", customer_id
    )
    ran = kaixu("reconcile")
    assert ran.returncode == 1
    assert f"customer {customer_id} in 2026-02 (ai), spent_nusd: kept 5, proven 0" in ran.stderr
