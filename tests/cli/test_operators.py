"""`kaixu operators …`, `kaixu tokens …` and `kaixu audit` against a real database."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.kaixu import run_kaixu
from tests.support.operators import operator_with_role
from tests.support.process import SECRETS

Run = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
def run(dsn: str, tmp_path: Path) -> Run:
    """Run a command."""

    async def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"DATABASE_URL": dsn, "KAIXU_HOME": str(tmp_path), **SECRETS, **environment}
        return await asyncio.to_thread(run_kaixu, *words, environment=given, folder=tmp_path)

    return command


async def shown(run: Run, *words: str) -> Any:
    """The JSON of a command that succeeds."""
    done = await run(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_operators_are_created_listed_switched_off_and_on(run: Run) -> None:
    made = await shown(run, "operators", "create", "Ada@Example.com", "--role", "owner", "--name", "Ada")
    assert (made["email"], made["role"], made["state"], len(made["password"])) == (
        "ada@example.com",
        "owner",
        "active",
        24,
    )
    again = await run("operators", "create", "ada@example.com")
    assert (again.returncode, "an operator with this email exists" in again.stderr) == (1, True)
    assert (await shown(run, "operators", "disable", "ada@example.com"))["state"] == "disabled"  # also the last owner
    assert (await shown(run, "operators", "enable", str(made["id"])))["state"] == "active"
    listed = await run("operators", "list")
    assert made["password"] not in listed.stdout
    assert "ada@example.com" in listed.stdout
    for words in (("change", "ada@example.com"), ("change", "nobody@example.com", "--role", "viewer"), ("revoke",)):
        refused = await run("operators", *words)
        assert (refused.returncode, refused.stdout, "Traceback" in refused.stderr) == (1, "", False)


async def test_sessions_are_listed_and_ended_by_operator(run: Run, pool: asyncpg.Pool) -> None:
    await operator_with_role(pool, "viewer", "ada@example.com")
    assert {row["operator"] for row in await shown(run, "operators", "sessions")} == {
        "ada@example.com",
        "admin password",
    }
    [row] = await shown(run, "operators", "sessions", "ada@example.com")
    assert (row["method"], row["revoked"]) == ("password", None)
    assert [one["id"] for one in await shown(run, "operators", "revoke", "ada@example.com")] == [row["id"]]
    assert await shown(run, "operators", "sessions", "ada@example.com") == []
    assert len(await shown(run, "operators", "sessions", "ada@example.com", "--ended")) == 1
    gone = await run("operators", "revoke", "--session", str(row["id"]))
    assert (gone.returncode, "no open session" in gone.stderr) == (1, True)


async def test_an_invitation_is_a_whole_link_where_the_address_is_known(run: Run) -> None:
    made = await shown(run, "operators", "create", "ada@example.com", "--invite")
    assert made["invitation"].startswith("/api/admin-invitation?token=")
    assert "password" not in made
    done = await run("operators", "invite", "ada@example.com", GATEWAY_URL="https://ai.example.com")
    assert "https://ai.example.com/api/admin-invitation?token=" in done.stdout


async def test_tokens_are_created_listed_and_revoked_by_id_or_name(run: Run) -> None:
    made = await shown(run, "tokens", "create", "nightly", "--scopes", "read,keys", "--days", "7")
    assert (made["scopes"], made["created_by"], made["operator"]) == ("read,keys", "cli", None)
    unknown = await run("tokens", "create", "b", "--scopes", "everything")
    assert (unknown.returncode, "there is no scope" in unknown.stderr) == (1, True)
    listed = await run("tokens", "list")
    assert ("nightly" in listed.stdout, made["token"] in listed.stdout) == (True, False)
    await shown(run, "tokens", "revoke", str(made["id"]))
    assert await shown(run, "tokens", "list") == []
    assert len(await shown(run, "tokens", "list", "--ended")) == 1
    gone = await run("tokens", "revoke", "nightly")
    assert (gone.returncode, "there is no such token" in gone.stderr) == (1, True)


async def test_the_audit_log_says_what_commands_did_and_filters(run: Run) -> None:
    await run("customers", "create", "c@example.com")
    await run("customers", "change", "c@example.com", "--plan", "pro")
    await run("customers", "change", "c@example.com", "--providers", "openai,local")
    await shown(run, "operators", "create", "ada@example.com")
    log = await run("audit", "--customer", "c@example.com", "--action", "customer_update")
    assert 'allowed_providers: – → ["openai", "local"]' in log.stdout
    assert ("plan_name: starter → pro" in log.stdout, "cli" in log.stdout) == (True, True)
    page = await shown(run, "audit", "--limit", "1")
    assert page["entries"][0]["action"] == "OPERATOR_CREATE"
    older = await shown(run, "audit", "--cursor", page["next_cursor"])
    assert [one["action"] for one in older["entries"]] == ["CUSTOMER_UPDATE"] * 2 + ["CUSTOMER_CREATE"]
    refused = await run("audit", "--since", "yesterday")
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
