"""`kaixu invoices …` against a real database."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaixu.store.pool import open_pool
from tests.invoices.books import OCTOBER, call
from tests.support.kaixu import run_kaixu
from tests.support.money import customer, virtual_key
from tests.support.process import SECRETS

CONFIG = """
lanes: {echo: {plugin: echo, models: {echo: {type: chat, price: {input: 1, output: 2}}}}}
invoices:
  seller: {name: Kaixu GmbH, address: [Berlin], country: DE, tax_id: DE136695976}
  tax: [{countries: [DE], rate: 19}]
"""

Kaixu = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kaixu(tmp_path: Path, dsn: str) -> Kaixu:
    """Run `kaixu invoices …`."""
    (tmp_path / "kaixu.yaml").write_text(CONFIG)

    async def prepare() -> None:
        pool = await open_pool(dsn, most=1)
        customer_id = await customer(pool)
        key_id, _ = await virtual_key(pool, customer_id)
        await call(pool, customer_id, key_id, OCTOBER, 10**10)
        await pool.close()

    asyncio.run(prepare())

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": os.environ["PATH"], "COLUMNS": "200", "DATABASE_URL": dsn, "KAIXU_HOME": str(tmp_path)}
        return run_kaixu("invoices", *words, environment={**given, **SECRETS}, folder=tmp_path)

    return run


SHOP = """
from kaixu.plugin import Book, Integration, hookimpl

@hookimpl
def register_integrations(register):
    register(Integration("shop", [], books=[Book("shop", statement=lambda month: {"cents": month.spent_cents})]))
"""


def test_commands_state_the_books_of_integrations_as_the_gateway_does(kaixu: Kaixu, tmp_path: Path, dsn: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "kaixu.yaml").write_text(f"{CONFIG}\nintegrations:\n  shop: {{plugin: ./shop.py}}\n")

    async def sell() -> None:
        pool = await open_pool(dsn, most=1)
        key = await pool.fetchrow("select customer_id, id from kaixu.virtual_key")
        assert key is not None
        await call(pool, key["customer_id"], key["id"], OCTOBER, 5 * 10**9, book="shop")
        await pool.close()

    asyncio.run(sell())
    who = "customer0@example.com"
    for words in (("show", who), ("draft", who)):
        assert read(kaixu(*words, "--month", "2025-10", "--json"))["snapshot"]["books"] == {"shop": {"cents": 500}}
    assert kaixu("billing", who, "--name", "Ada", "--address", "Ulm", "--country", "de").returncode == 0
    issued = read(kaixu("finalize", who, "--month", "2025-10", "--json"))
    assert issued["snapshot"]["books"] == {"shop": {"cents": 500}}


def read(ran: subprocess.CompletedProcess[str]) -> Any:
    """The JSON that a command printed."""
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_an_operator_bills_a_month(kaixu: Kaixu, tmp_path: Path) -> None:
    who = "customer0@example.com"
    assert read(kaixu("draft", who, "--month", "2025-10", "--json"))["status"] == "ready"
    refused = kaixu("finalize", who, "--month", "2025-10")
    assert (refused.returncode, "lack name, address, country" in refused.stderr) == (1, True)
    assert "BILLING_DETAILS_MISSING; set them with `kaixu invoices billing`" in kaixu("finalize", "--all").stdout
    assert "must be two letters, like DE" in kaixu("billing", who, "--country", "Austria").stderr
    details = ("--name", "Ada AG", "--address", "Ring 1", "--address", "Ulm", "--country", "de")
    assert read(kaixu("billing", who, *details, "--json"))["address"] == ["Ring 1", "Ulm"]
    issued = read(kaixu("finalize", who, "--month", "2025-10", "--json"))
    number = issued["number"]
    assert issued["snapshot"]["amounts"]["total_cents"] == 1_190
    assert "11.90" in kaixu("show", number).stdout
    assert kaixu("verify", number).stdout.startswith(f"{number} is what was issued")
    assert read(kaixu("pdf", number, "--out", "x.pdf", "--json"))["bytes"] > 1000
    assert (tmp_path / "x.pdf").read_bytes()[:5] == b"%PDF-"
    note = read(kaixu("credit", number, "--line", "1", "--reason", "outage", "--json"))
    assert note["snapshot"]["amounts"]["total_cents"] == -1_190
    refused = kaixu("void", number, "--reason", "x")
    assert (refused.returncode, "credit notes" in refused.stderr) == (1, True)
    rows = read(kaixu("list", "--customer", who, "--json"))
    assert [row["number"] for row in rows] == [note["number"], number]
    assert "0 issued" in kaixu("finalize", "--all").stdout


def test_mistakes_are_told_in_one_line(kaixu: Kaixu) -> None:
    for words in (
        ("finalize",),
        ("finalize", "customer0@example.com"),
        ("finalize", "--all", "--month", "2025-10"),
        ("show", "INV-9"),
        ("verify", "INV-9"),
        ("pdf", "INV-9"),
        ("credit", "INV-9", "--reason", "x", "--line", "1", "--amount-cents", "5"),
        ("billing", "customer0@example.com", "--country", "DE", "--tax-id", "DE1"),
    ):
        ran = kaixu(*words)
        assert (ran.returncode, "Traceback" in ran.stderr) == (1, False), (words, ran.stderr)
        assert ran.stderr.strip(), words
