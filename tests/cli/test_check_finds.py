"""`kaixu check` finds what would only fail with the first call, and says by whose environment it judges."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kaixu.catalog.build import assemble
from kaixu.config.load import load
from kaixu.gateway.environment import variables_of
from kaixu.gateway.reload import config_notes
from tests.support.kaixu import run_kaixu
from tests.support.pooler import Pooler
from tests.support.process import Process

from .conftest import CONFIG, Piped

ODD = """
lanes:
  one:
    plugin: openai
    api_key: k
    base_url: https://ai.example.com/v1/chat/completions/
    aliases: [Two, uno]
    models:
      priced: {type: chat, price: {input: 1, output: 2}}
      unpriced: {type: chat}
  two:
    plugin: openai
    api_key: k
    models:
      other: {type: chat, price: {input: 1, output: 2}}
"""

LANE = """
lanes:
  vendor:
    plugin: openai
    api_key: ${CHECKED_VENDOR_KEY}
    models: {chat: {type: chat, price: {input: 1, output: 2}}}
"""


def test_models_without_a_price_ambiguous_aliases_and_addresses_of_an_endpoint_are_noted(
    piped: Piped, tmp_path: Path
) -> None:
    (tmp_path / "kaixu.yaml").write_text(ODD)
    ran = piped("check", "--no-database")
    assert (ran.returncode, ran.stderr.splitlines()) == (
        0,
        [
            "note: model `unpriced` of lane `one` has no price: calls to it are refused with 409",
            "note: `base_url` of lane `one` ends in /chat/completions: leave that out, the lane adds the path itself",
            "note: `two/…` means models of lane `two` and of those that have it as an alias: `one`",
        ],
    )


def test_the_file_that_we_ship_starts_without_notes(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "kaixu.yaml"
    assert config_notes(assemble(load(path, {}), tmp_path)) == []


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("mail: {host: 127.0.0.1, from: a@example.com, tls: none}", ["to people who have an account"]),
        (
            "mail: {host: 127.0.0.1, from: a@example.com, tls: none}\nselfservice: {mode: email}",
            ["in the mode `email`"],
        ),
        ("mail: {host: 127.0.0.1, from: a@example.com, tls: none}\nselfservice: {mode: 'off'}", []),
        ("", []),
    ],
    ids=["open", "email", "off", "no mail"],
)
def test_links_without_an_address_of_the_gateway_are_noted(
    piped: Piped, tmp_path: Path, section: str, words: list[str]
) -> None:
    (tmp_path / "kaixu.yaml").write_text(f"{CONFIG}{section}\n")
    ran = piped("check", "--no-database")
    assert ran.returncode == 0
    assert [word in line for word, line in zip(words, ran.stderr.splitlines(), strict=True)] == [True] * len(words)
    assert piped("check", "--no-database", GATEWAY_URL="https://ai.example.com").stderr == ""


async def test_a_database_without_pgvector_is_wrong(
    piped: Piped, server_dsn: str, dsn: str, pool: asyncpg.Pool
) -> None:
    name = await pool.fetchval("select current_database()")
    await pool.execute("drop schema kaixu cascade; drop extension vector cascade")
    await pool.execute(f"alter database {name} set extension_control_path = '/nowhere'")
    ran = await asyncio.to_thread(piped, "check")
    assert ran.returncode == 1
    [line] = ran.stderr.splitlines()
    assert line.startswith("this Postgres has no pgvector: install pgvector 0.8 or newer")
    assert "Debian 12" in line
    assert "https://apt.postgresql.org" in line


@pytest.mark.parametrize("refuses", [None, "idle_in_transaction_session_timeout"])
async def test_a_pooler_that_the_gateway_is_not_told_about_is_wrong(
    piped: Piped, dsn: str, refuses: str | None
) -> None:
    pooler = Pooler(dsn, refuses=refuses)
    address = await pooler.start()
    try:
        told = await asyncio.to_thread(lambda: piped("check", DATABASE_URL=address, KAIXU_POOLER="true"))
        untold = await asyncio.to_thread(lambda: piped("check", DATABASE_URL=address))
    finally:
        await pooler.stop()
    assert (told.returncode, told.stderr) == (0, "")
    assert untold.returncode == 1
    [line] = untold.stderr.splitlines()
    assert line.startswith(
        "DATABASE_URL leads to a pooler such as PgBouncer, which keeps no sessions: set KAIXU_POOLER=true"
    )


@pytest.mark.own_process
async def test_it_judges_by_the_environment_of_the_running_gateway(dsn: str, tmp_path: Path) -> None:
    process = Process(tmp_path, dsn, LANE, CHECKED_VENDOR_KEY="only-the-gateway-has-it")

    def check(**environment: str) -> dict[str, Any]:
        given = {name: value for name, value in process.environment.items() if name != "CHECKED_VENDOR_KEY"}
        ran = run_kaixu("check", "--json", environment=given | environment, folder=tmp_path)
        assert "only-the-gateway-has-it" not in ran.stdout + ran.stderr
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    before = await asyncio.to_thread(check)
    assert before["off"] == "vendor (CHECKED_VENDOR_KEY is not set)"
    assert before["environment"] == "this shell's: no gateway runs with this data folder"
    await process.start()
    try:
        during = await asyncio.to_thread(check)
    finally:
        await process.stop()
    assert process.process is not None
    assert (during["off"], during["environment"]) == (None, f"the running gateway's (process {process.process.pid})")


def test_the_environment_of_a_process_that_has_ended_is_unknown() -> None:
    assert variables_of(2**22 - 1) is None
    assert variables_of(os.getpid()) is not None
