"""`kaixu prices`: what every model costs and earns, without a database or a vendor."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaixu.config.margins import margin
from kaixu.config.price import Price, losses
from kaixu.config.price_list import packaged, read_price_list
from tests.support.kaixu import run_kaixu

CONFIG = """
lanes:
  swift:
    plugin: openai
    api_key: ${NO_SUCH_KEY}
    price_list: ./acme.yaml
    models:
      chat: {type: chat, upstream: big, price: list + 31%}
      notes: {type: embed, upstream: vectors, price: list - 50%, cost: {input: 0.01}}
      own: {type: chat, price: {input: 1, output: 2}}
      none: {type: chat}
  gone:
    plugin: ./not/there.py
    models:
      free: {type: chat, price: {input: 0, output: 0}, cost: {input: 0, output: 0}}
"""
ACME = """
vendor: Acme
as_of: 2026-11-01
models:
  big: {input: 3, output: 15, cache_write: 3.75, note: the dearer tier}
  vectors: {input: 0.02}
"""

Kaixu = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kaixu(tmp_path: Path) -> Kaixu:
    """Run `kaixu prices …` beside the files above, or beside another kaixu.yaml."""
    (tmp_path / "acme.yaml").write_text(ACME)

    def run(*words: str, config: str = CONFIG) -> subprocess.CompletedProcess[str]:
        (tmp_path / "kaixu.yaml").write_text(config)
        environment = {"PATH": os.environ["PATH"], "COLUMNS": "200"}
        return run_kaixu("prices", *words, environment=environment, folder=tmp_path)

    return run


def cells(ran: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """The rows of the table that a command printed."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in ran.stdout.splitlines()[2:]]


def test_check_shows_price_cost_and_margin_whatever_becomes_of_the_lanes(kaixu: Kaixu) -> None:
    ran = kaixu("check")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert cells(ran) == [
        ["swift", "chat", "big", "3.93 / 19.65", "3.00 / 15.00", "23.7 / 23.7", "list + 31 %", "./acme.yaml 2026-11-01"],
        ["swift", "notes", "vectors", "0.01", "0.01", "0.0", "list - 50 %", "./acme.yaml 2026-11-01"],
        ["swift", "own", "own", "1.00 / 2.00", "unknown", "unknown", "own", "–"],
        ["swift", "none", "none", "none: calls are refused", "unknown", "unknown", "–", "–"],
        ["gone", "free", "free", "0.00 / 0.00", "0.00 / 0.00", "– / –", "own", "–"],
    ]  # fmt: skip


def test_check_for_scripts(kaixu: Kaixu) -> None:
    rows: dict[str, dict[str, Any]] = {row["model"]: row for row in json.loads(kaixu("check", "--json").stdout)}
    assert rows["chat"] == {
        "lane": "swift",
        "model": "chat",
        "upstream": "big",
        "type": "chat",
        "price_input_usd": "3.93",
        "price_output_usd": "19.65",
        "cost_input_usd": "3.00",
        "cost_output_usd": "15.00",
        "margin_input_percent": "23.7",
        "margin_output_percent": "23.7",
        "loss": [],
        "price_from": "list + 31 %",
        "cost_from": "list",
        "list": "./acme.yaml",
        "as_of": "2026-11-01",
        "note": "the dearer tier",
    }
    assert (rows["notes"]["price_output_usd"], rows["notes"]["cost_from"]) == (None, "own")
    assert (rows["none"]["price_input_usd"], rows["none"]["price_from"]) == (None, None)


@pytest.mark.parametrize(
    ("prices", "kinds", "shown"),
    [
        ("price: list - 10%", "input, output, cached_input, cache_write, reasoning", "LOSS -11.1 / -11.1"),
        ("price: {input: 4, output: 14}, cost: list", "output, reasoning", "LOSS 25.0 / -7.1"),
        # The vendor's cache writes are dearer than its input; a price without them sells them as input.
        ("price: {input: 3.1, output: 16}, cost: list", "cache_write", "LOSS 3.2 / 6.3"),
    ],
)
def test_price_below_its_cost_is_a_loss_and_ends_with_1(kaixu: Kaixu, prices: str, kinds: str, shown: str) -> None:
    config = CONFIG.replace("price: list + 31%", prices)
    ran = kaixu("check", config=config)
    assert ran.returncode == 1
    assert cells(ran)[0][5] == shown
    assert ran.stderr.splitlines()[0] == f"priced below cost: swift/chat ({kinds})"
    ran = kaixu("check", "--json", config=config)
    assert ran.returncode == 1
    assert [row["loss"] for row in json.loads(ran.stdout)] == [kinds.split(", "), [], [], [], []]


def test_model_that_the_list_lacks_is_said_with_its_place(kaixu: Kaixu) -> None:
    ran = kaixu("check", config=CONFIG.replace("upstream: big", "upstream: bigg"))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "kaixu.yaml:8:42: price list `./acme.yaml` of 2026-11-01 has no model `bigg`; did you mean `big`?\n"
    )


def test_check_of_no_models_is_not_an_error(kaixu: Kaixu) -> None:
    ran = kaixu("check", config="lanes: {}\n")
    assert (ran.returncode, ran.stdout) == (0, "USD per million tokens: none\n")


def test_lists_that_come_along_are_shown_with_their_dates(kaixu: Kaixu) -> None:
    rows = json.loads(kaixu("list", "--json").stdout)
    assert [row["name"] for row in rows] == ["anthropic", "gemini", "openai", "voyage"]
    openai = read_price_list(packaged()["openai"])
    assert rows[2] == {"name": "openai", "vendor": "OpenAI", "as_of": str(openai.as_of), "models": len(openai.models)}
    assert str(openai.as_of) in kaixu("list").stdout


def test_one_list_is_shown_with_what_it_says_of_its_prices(kaixu: Kaixu) -> None:
    rows = {row["model"]: row for row in json.loads(kaixu("list", "gemini", "--json").stdout)}
    assert rows["gemini-2.5-pro"]["input_usd"] == "2.50"
    assert rows["gemini-2.5-pro"]["note"].startswith("above 200,000 input tokens")
    assert (rows["gemini-embedding-001"]["input_usd"], rows["gemini-embedding-001"]["output_usd"]) == ("0.15", None)
    ran = kaixu("list", "gemini")
    assert ran.stdout.splitlines()[0].strip() == (
        f"Google, as of {read_price_list(packaged()['gemini']).as_of}, USD per million tokens"
    )


def test_list_that_does_not_come_along_is_one_line_and_a_hint(kaixu: Kaixu) -> None:
    ran = kaixu("list", "opena")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines() == [
        "no such price list: `opena`; did you mean `openai`?",
        "Lists: anthropic, gemini, openai, voyage.",
    ]


@pytest.mark.parametrize(
    ("price", "cost", "percent"),
    [
        (131, 100, "23.7"),
        (100, 100, "0.0"),
        (100, 150, "-50.0"),
        (1000, 1003, "-0.3"),
        (2000, 1999, "0.1"),
        (2001, 2000, "0.0"),
        (10**15, 1, "100.0"),
        (0, 5, None),
    ],
)
def test_margin_is_a_share_of_the_price(price: int, cost: int, percent: str | None) -> None:
    assert margin(price, cost) == percent


def test_loss_is_looked_for_only_in_what_is_charged() -> None:
    price, cost = Price(5, 0, 5, 5, 0), Price(5, 1, 5, 6, 1)
    assert losses(price, cost, ("input", "cached_input", "cache_write")) == ["cache_write"]
    assert losses(None, cost, ("input",)) == losses(price, None, ("input",)) == []
