"""The command line against a real database: what an operator types, and what a script reads."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kaixu.cli.lazy import COMMANDS
from kaixu.store.pool import open_pool
from tests.support.kaixu import run_kaixu
from tests.support.process import SECRETS

CONFIG = """
lanes:
  echo:
    plugin: echo
    models:
      echo-chat: {type: chat, price: {input: 1, output: 2}}
  vendor:
    plugin: openai
    api_key: ${NO_SUCH_KEY}
    models:
      chat: {type: chat, price: {input: 1, output: 2}}
"""

Kaixu = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kaixu(tmp_path: Path, dsn: str) -> Kaixu:
    """Run `kaixu …` with the test's database."""
    (tmp_path / "kaixu.yaml").write_text(CONFIG)

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": os.environ["PATH"], "COLUMNS": "200", "DATABASE_URL": dsn, "KAIXU_HOME": str(tmp_path)}
        return run_kaixu(*words, environment={**given, **SECRETS, **environment}, folder=tmp_path)

    return run


def read(ran: subprocess.CompletedProcess[str]) -> Any:
    """The JSON that a command printed."""
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_a_customer_gets_a_key_and_loses_it(kaixu: Kaixu) -> None:
    made = read(kaixu("customers", "create", "ada@example.com", "--cap-cents", "1234", "--json"))
    assert (made["email"], made["cap_usd"]) == ("ada@example.com", "12.34")
    key = read(kaixu("keys", "create", "ada@example.com", "--label", "laptop", "--rpm", "7", "--json"))
    assert len(key["key"]) == 56
    assert key["key"].startswith("kx_live_")
    rotated = read(kaixu("keys", "rotate", str(key["id"]), "--json"))
    assert (rotated["label"], rotated["rpm"]) == ("laptop", 7)
    listed = kaixu("keys", "list", "ada@example.com", "--json")
    assert key["key"] not in listed.stdout
    assert [(one["id"], one["state"]) for one in read(listed)] == [(rotated["id"], "live"), (key["id"], "revoked")]
    topped = read(kaixu("customers", "top-up", "ada@example.com", "500", "--idempotency-key", "one", "--json"))
    again = read(kaixu("customers", "top-up", "ada@example.com", "500", "--idempotency-key", "one", "--json"))
    assert (topped["extra_usd"], again["extra_usd"], again["applied"]) == ("5.00", "5.00", False)
    each = read(kaixu("customers", "change", "ada@example.com", "--end-user-cap-cents", "100", "--json"))
    assert each["end_user_cap_usd"] == "1.00"
    for cents, cap in (("25", "0.25"), ("none", None)):
        one = read(kaixu("customers", "end-user-cap", "ada@example.com", "visitor-7", cents, "--json"))
        assert (one["end_user"], one["cap_usd"], one["spent_usd"]) == ("visitor-7", cap, "0.00")
    assert read(kaixu("customers", "disable", "ada@example.com", "--json"))["active"] is False
    assert kaixu("customers", "list").stdout.count("ada@example.com") == 1


def test_what_an_operator_gets_wrong_is_one_line_and_a_hint(kaixu: Kaixu) -> None:
    for words, said in (
        (("customers", "create", "nonsense"), "email"),
        (("customers", "create", "a@b.co", "--cap-cents", "-1"), "`--cap-cents` must lie"),
        (("keys", "create", "nobody@example.com"), "there is no customer"),
        (("keys", "rotate", "4711"), "there is no key 4711"),
        (("customers", "end-user-cap", "nobody@example.com", "visitor-7", "1"), "there is no customer"),
        (("usage", "explain", "4711"), "there is no usage event"),
        (("usage", "show", "nobody@example.com"), "there is no customer"),
    ):
        ran = kaixu(*words)
        assert ran.returncode == 1, words
        assert said in ran.stderr, words
        assert "Traceback" not in ran.stderr
        assert ran.stdout == ""


def test_serve_without_its_secrets_names_every_one_that_is_missing(kaixu: Kaixu) -> None:
    ran = kaixu("serve", JWT_SECRET="", ADMIN_PASSWORD="")
    assert ran.returncode == 1
    assert "ADMIN_PASSWORD" in ran.stderr
    assert "JWT_SECRET" in ran.stderr
    assert "KEY_PEPPER" not in ran.stderr
    assert "Traceback" not in ran.stderr


def test_check_says_every_mistake_with_its_place(kaixu: Kaixu, tmp_path: Path) -> None:
    assert kaixu("check").returncode == 0
    (tmp_path / "kaixu.yaml").write_text(CONFIG.replace("api_key", "api_kee").replace("type: chat", "type: chatt", 1))
    ran = kaixu("check")
    assert ran.returncode == 1
    assert "kaixu.yaml:6:" in ran.stderr
    (tmp_path / "kaixu.yaml").write_text(CONFIG.replace("api_key", "api_kee"))
    ran = kaixu("check")
    assert ran.returncode == 1
    assert ran.stderr.strip() == "kaixu.yaml:7:3: lane `vendor` needs `api_key`; did you mean that by `api_kee`?"


def test_plugins_and_doctor_show_what_is_off_and_why(kaixu: Kaixu) -> None:
    states = {one["name"]: one["state"] for one in read(kaixu("plugins", "--json"))}
    assert states["echo"] == "on"
    assert "needs migrations" not in kaixu("doctor").stdout
    # Not its exit status: it also reports what is wrong with other gateways on this machine, as those of other tests.
    rows = {row["what"]: row for row in json.loads(kaixu("doctor", "--json").stdout)}
    assert rows["lane vendor"] == {"what": "lane vendor", "state": "off", "detail": "NO_SUCH_KEY is not set"}
    assert rows["schema"]["state"] == "ok"


def test_migrate_says_what_an_empty_database_needs(kaixu: Kaixu, server_dsn: str) -> None:
    from tests.conftest import with_database

    async def make() -> None:
        connection = await asyncpg.connect(server_dsn)
        await connection.execute("drop database if exists kaixu_blank")
        await connection.execute("create database kaixu_blank")
        await connection.close()

    asyncio.run(make())
    blank = {"DATABASE_URL": with_database(server_dsn, "kaixu_blank")}
    needed = read(kaixu("migrate", "--dry-run", "--json", **blank))
    assert {"file": "migrations/0001_customers.sql"} in needed
    assert kaixu("doctor", **blank).returncode == 1
    assert read(kaixu("migrate", "--json", **blank)) == needed
    assert read(kaixu("migrate", "--json", **blank)) == []


def test_reconcile_ends_with_1_at_the_first_figure_that_does_not_add_up(kaixu: Kaixu, dsn: str) -> None:
    read(kaixu("customers", "create", "ada@example.com", "--json"))
    read(kaixu("customers", "top-up", "ada@example.com", "500", "--json"))
    assert read(kaixu("reconcile", "--json"))["differences"] == []

    async def spoil() -> None:
        pool = await open_pool(dsn)
        await pool.execute("update kaixu.customer_month set spent_nusd = spent_nusd + 1")
        await pool.close()

    asyncio.run(spoil())
    ran = kaixu("reconcile", "--json")
    assert ran.returncode == 1
    assert any(one["figure"] == "spent_nusd" for one in json.loads(ran.stdout)["differences"])


def test_what_makes_pdfs_is_not_loaded_before_the_first() -> None:
    code = "import sys, kaixu.gateway.process; print(sorted({'fpdf', 'fontTools', 'PIL', 'numpy'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_import_kaixu_loads_nothing_else() -> None:
    subprocess.run(
        [sys.executable, "-c", "import kaixu, sys; assert not {'quart', 'asyncpg', 'pydantic'} & set(sys.modules)"],
        check=True,
    )


def test_every_command_has_help() -> None:
    ran = subprocess.run([sys.executable, "-m", "kaixu", "--help"], capture_output=True, text=True, check=True)
    for command in COMMANDS:
        assert f" {command} " in ran.stdout


def test_serve_says_in_one_line_what_keeps_it_from_serving(kaixu: Kaixu, dsn: str) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for environment, said in (
            ({"KAIXU_BIND": f"127.0.0.1:{taken.getsockname()[1]}"}, "cannot listen on 127.0.0.1:"),
            ({"KAIXU_BIND": "nonsense"}, "KAIXU_BIND"),
            ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "the database does not answer"),
            ({"DATABASE_URL": dsn.replace("/kaixu_", "/nowhere_")}, "the database refuses us"),
        ):
            ran = kaixu("serve", **environment)
            assert (ran.returncode, "Traceback" in ran.stderr) == (1, False), ran.stderr
            assert said in ran.stderr
