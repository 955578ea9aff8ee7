"""A database remembers with which secrets it was set up: with others a gateway does not start, and says why."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.kaixu import run_kaixu
from tests.support.process import SECRETS, Process, config_for

OTHER = "another-secret-0123456789-0123456789"


def made(tmp_path: Path, dsn: str, name: str, **environment: str) -> Process:
    return Process(tmp_path / name, dsn, config_for("http://127.0.0.1:1/v1", "ok"), **environment)


async def start_fails(process: Process) -> str:
    """What a start says that fails."""
    ran = await process.command("serve")
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert OTHER not in ran.stdout + ran.stderr
    return ran.stderr


@pytest.mark.parametrize("variable", ["KEY_PEPPER", "DB_ENCRYPTION_KEY"])
async def test_a_copy_with_another_secret_says_so_at_start_and_until_it_is_accepted(
    dsn: str, pool: asyncpg.Pool, tmp_path: Path, variable: str
) -> None:
    first = made(tmp_path, dsn, "first")
    await first.start()
    await first.stop()
    other = made(tmp_path, dsn, "other", **{variable: OTHER})
    said = await start_fails(other)
    assert f"{variable} is not the one of this database" in said
    assert f"kaixu accept-secrets {variable}" in said
    checked = await other.command("check")
    assert (checked.returncode, f"{variable} is not the one of this database" in checked.stderr) == (1, True)
    rows = {row["what"]: row for row in json.loads((await other.command("doctor", "--json")).stdout)}
    assert rows["database's secrets"]["state"] == "wrong"
    # A key that is made with another pepper would be refused by every gateway.
    await other.command("customers", "create", "ada@example.com")
    ran = await other.command("keys", "create", "ada@example.com")
    assert ran.returncode == (1 if variable == "KEY_PEPPER" else 0)
    # Nor could a code be redeemed, nor a webhook be read.
    ran = await other.command("codes", "create", "--amount-cents", "5", "--expires", "2030-12-31")
    assert ran.returncode == (1 if variable == "KEY_PEPPER" else 0)
    ran = await other.command("alerts", "webhook", "ada@example.com", "https://hooks.example.com/ada")
    assert ran.returncode == (1 if variable == "DB_ENCRYPTION_KEY" else 0)
    nonsense = await other.command("accept-secrets", "JWT_SECRET")
    assert (nonsense.returncode, "is not one of KEY_PEPPER, DB_ENCRYPTION_KEY" in nonsense.stderr) == (1, True)
    accepted = [json.loads((await other.command("accept-secrets", variable, "--json")).stdout) for _ in range(2)]
    assert accepted == [{"accepted": [variable]}, {"accepted": []}]
    await other.start()
    await other.stop()
    assert f"{variable} is not the one" in await start_fails(first)
    audited = await pool.fetch(
        "select action, target, before, after from kaixu.audit_event where action like 'SECRET%'"
    )
    assert [tuple(row) for row in audited] == [("SECRET_ACCEPT", f"secret:{variable}", None, None)]


async def test_gateways_that_start_at_once_agree_on_the_first_secrets(
    dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    same = [made(tmp_path, dsn, f"same{at}") for at in range(3)]
    await asyncio.gather(*(one.start() for one in same))
    await asyncio.gather(*(one.stop() for one in same))
    rows = await pool.fetch(
        "select name, length(salt) as salt, fingerprint from kaixu.secret_fingerprint order by name"
    )
    assert [(row["name"], row["salt"]) for row in rows] == [("DB_ENCRYPTION_KEY", 16), ("KEY_PEPPER", 16)]
    shown = b"".join(row["fingerprint"] for row in rows)
    assert not any(secret.encode() in shown for secret in SECRETS.values())
    # Of two that differ exactly one can begin with an empty table.
    await pool.execute("delete from kaixu.secret_fingerprint")
    two = [made(tmp_path, dsn, f"two{at}", KEY_PEPPER=f"{OTHER}-{at}") for at in range(2)]
    results = await asyncio.gather(*(one.start() for one in two), return_exceptions=True)
    try:
        assert sorted(isinstance(one, BaseException) for one in results) == [False, True]
    finally:
        await asyncio.gather(*(one.stop() for one in two))


async def test_secrets_that_were_generated_are_noted_too(dsn: str, tmp_path: Path) -> None:
    def run(home: str, *words: str) -> subprocess.CompletedProcess[str]:
        environment: dict[str, Any] = {"PATH": "/usr/bin:/bin", "DATABASE_URL": dsn, "KAIXU_HOME": str(tmp_path / home)}
        return run_kaixu(*words, environment=environment, folder=tmp_path)

    process = made(tmp_path, dsn, "dev")
    for name in SECRETS:
        del process.environment[name]
    process.options = ("--dev",)
    await process.start()
    await process.stop()
    assert (await asyncio.to_thread(run, "dev", "accept-secrets", "KEY_PEPPER")).stdout == (
        "KEY_PEPPER: it is the database's already\n"
    )
