"""Customers of another gateway go on calling with their old keys, and their caps hold from the first call on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from kaixu.reports.reconcile import reconcile
from tests.support.money import assert_books_balance
from tests.support.other_gateways import LITELLM, ONE_API, litellm_sql, one_api_db
from tests.support.process import Client, Process

from .conftest import Start


async def imported(process: Process, system: str, where: Path | str, *words: str) -> dict[str, Any]:
    """`kaixu import … --json`."""
    ran = await process.command("import", system, str(where), "--json", *words)
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


async def test_keys_of_litellm_go_on_working_and_their_caps_hold_from_the_first_call(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    [process] = await start()
    result = await imported(process, "litellm", litellm_sql(tmp_path))
    assert (result["customers"]["new"], result["keys"]["new"]) == (9, 15)

    async def call(name: str) -> tuple[int, dict[str, Any]]:
        return await Client(http, process.url, LITELLM[name]).chat("ok", max_tokens=16)

    status, body = await call("no budget")
    assert status == 200, body
    month = body["month"]
    assert (month["cap_cents"], month["spent_cents"], month["key_spent_cents"]) == (2550, 500, 175)
    # The second call is found by the hash under the pepper, which the first one has written.
    assert (await call("no budget"))[0] == 200
    # Its budget is used up, but for its list of models it would be refused anyway.
    await pool.execute("update kaixu.customer set allowed_models = null where email = 'grace@example.com'")
    refused = {
        name: await call(name) for name in ("blocked", "expired", "over budget", "no models", "monthly", "blocked team")
    }
    assert {name: body["code"] for name, (_, body) in refused.items()} == {
        "blocked": "UNAUTHENTICATED",
        "expired": "KEY_EXPIRED",
        "over budget": "CAP_REACHED",
        "no models": "MODEL_NOT_ALLOWED",
        "monthly": "MODEL_NOT_ALLOWED",
        "blocked team": "CUSTOMER_DISABLED",
    }
    assert (await Client(http, process.url, "sk-NoSuchKey00000000000000").chat("ok"))[1]["code"] == "UNAUTHENTICATED"
    await assert_books_balance(pool)
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_keys_of_one_api_go_on_working_within_what_was_left_of_their_quota(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    [process] = await start()
    lanes = tmp_path / "lanes.yaml"
    tried = await imported(process, "one-api", one_api_db(tmp_path / "one-api.db"), "--dry-run", "--lanes", str(lanes))
    assert (tried["dry_run"], lanes.exists()) == (True, False)
    result = await imported(process, "one-api", tmp_path / "one-api.db", "--lanes", str(lanes))
    assert (result["keys"]["new"], lanes.read_text()) == (10, result["lanes"])
    again = await process.command("import", "one-api", str(tmp_path / "one-api.db"), "--lanes", str(lanes))
    assert (again.returncode, "is there already" in again.stderr) == (1, True)

    async def call(name: str, model: str = "ok") -> tuple[int, dict[str, Any]]:
        return await Client(http, process.url, f"sk-{ONE_API[name]}").chat(model, max_tokens=16)

    status, body = await call("limited")
    assert status == 200, body
    month = body["month"]
    assert (month["cap_cents"], month["spent_cents"]) == (235, 35)
    assert (month["key_cap_cents"], month["key_spent_cents"]) == (75, 25)
    assert (await call("models"))[0] == 200
    refused = [(await call(name))[1]["code"] for name in ("disabled", "expired", "exhausted", "used up", "of nobody")]
    assert refused == ["UNAUTHENTICATED", "KEY_EXPIRED", "UNAUTHENTICATED", "CAP_REACHED", "CUSTOMER_DISABLED"]
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_the_command_says_what_it_did_and_what_it_left_out(start: Start, tmp_path: Path) -> None:
    [process] = await start()
    ran = await process.command("import", "litellm", str(litellm_sql(tmp_path)), "--dry-run", COLUMNS="200")
    assert ran.returncode == 0, ran.stderr
    assert "from              LiteLLM, as `litellm` (dry run: nothing was changed)" in ran.stdout
    assert "customers         9 new, 0 imported before" in ran.stdout
    assert "LiteLLM_TeamMembership" in ran.stdout
    for words, said in (
        (("litellm", "none.sql"), "there is no file none.sql"),
        (("litellm", "mysql://root:secret@db/litellm"), "a database of MySQL or MariaDB"),
        (("one-api", str(litellm_sql(tmp_path))), "this is no database of one-api"),
        (("litellm", str(litellm_sql(tmp_path)), "--source", "Not A Name"), "the name of a source has"),
    ):
        failed = await process.command("import", *words)
        assert (failed.returncode, said in failed.stderr) == (1, True), failed.stderr
        assert "secret" not in failed.stderr
        assert "Traceback" not in failed.stderr
