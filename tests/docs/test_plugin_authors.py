"""docs/plugin-authors/lanes.md: its lanes open, its test passes, and it names everything in the contract."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import aiohttp
import asyncpg
import pytest

from kaixu import plugin
from kaixu.catalog.build import build
from kaixu.config.load import load
from kaixu.plugin import Feature, Lane, Usage, testing
from tests.support.money import customer, virtual_key
from tests.support.process import Process

from .pages import blocks, text_of

PAGE = text_of("docs/plugin-authors/lanes.md")
INTEGRATIONS = text_of("docs/plugin-authors/integrations.md")
LOUD, ACME, ACMES_TEST, TERSE = blocks(PAGE, "python")
SHOUTING, WITH_ACME = blocks(PAGE, "yaml")
#: What the page has no need of: integrations, and errors that only the core raises.
OF_OTHERS = {
    "Call", "Charge", "Event", "Free", "Integration", "Operation", "PerCall", "PerUnit", "RegisterIntegration",
    "Invalid", "KaixuError", "NotFound", "PluginError", "ServerSentEvent", "TooLarge", "Unavailable", "Unprocessable",
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "config", "name"), [(LOUD, SHOUTING, "shouting"), (ACME, WITH_ACME, "acme")], ids=["loud", "acme"]
)
def test_its_lanes_open(code: str, config: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "plugins" / "lanes").mkdir(parents=True)
    plugin_of = "loud" if name == "shouting" else name
    (tmp_path / "plugins" / "lanes" / f"{plugin_of}.py").write_text(code)
    (tmp_path / "kaixu.yaml").write_text(config)
    catalog = build(load(tmp_path / "kaixu.yaml", {"ACME_API_KEY": "k"}), tmp_path)
    assert {lane: state.state for lane, state in catalog.lanes.items()} == {name: "on"}


def test_the_test_of_its_lane_passes(tmp_path: Path) -> None:
    (tmp_path / "acme.py").write_text(ACME)
    (tmp_path / "test_acme.py").write_text(ACMES_TEST)
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:asyncio",
            "--rootdir",
            ".",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


def test_its_lane_with_plain_answers_keeps_the_contract() -> None:
    names: dict[str, Any] = {}
    exec(compile(TERSE, "terse.py", "exec"), names)  # the page's own code

    class Contract(testing.LaneContract):
        def lane(self) -> Lane:
            made: Lane = names["Terse"]()
            return made

        def says(self, pieces: Sequence[str], usage: Usage) -> testing.Answer:
            figures = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
            return testing.event_stream(
                *({"choices": [{"delta": {"content": piece}}]} for piece in pieces),
                {"choices": [{"delta": {}, "finish_reason": "stop"}]},
                {"choices": [], "usage": figures},
            )

    contract = Contract()
    tests = [name for name in dir(contract) if name.startswith("test_")]
    assert sum("plain" in name for name in tests) >= 10
    for name in tests:
        getattr(contract, name)()


def test_every_feature_and_everything_a_lane_says_of_itself_is_named() -> None:
    for feature in get_args(Feature):
        assert f"`{feature}`" in PAGE
    for name in vars(Lane):
        if not name.startswith("_"):
            assert f"`{name}" in PAGE, name


def test_every_name_of_the_contract_is_on_the_page() -> None:
    pages = PAGE + INTEGRATIONS
    assert [name for name in plugin.__all__ if name not in pages and name not in OF_OTHERS] == []
    for name in (testing.FakeWire, testing.check_lane, testing.event_stream, testing.json_answer, testing.Answer):
        assert name.__name__ in PAGE


async def test_the_parcels_of_the_page_are_held_and_billed(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    chapter = INTEGRATIONS.partition("## Charges by key, and books")[2]
    process = Process(tmp_path, dsn, blocks(chapter, "yaml")[0])
    (tmp_path / "parcels.py").write_text(blocks(chapter, "python")[0])
    await process.start()
    _, key = await virtual_key(pool, await customer(pool), role="owner")

    async def ask(what: str, **body: object) -> tuple[int, dict[str, object]]:
        url, headers = f"{process.url}/v1/parcels/{what}", {"authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(url, json={"id": "month", **body}, headers=headers) as response,
        ):
            return response.status, await response.json()

    try:
        assert await ask("order", id="p1", grams=2500) == (200, {"state": "ordered"})
        assert (await ask("order", id="p2", delivered=False))[0] == 200
        async with asyncio.timeout(30):
            while (await ask("month"))[1]["held_nusd"]:
                await asyncio.sleep(0.05)
        _, month = await ask("month")
        assert (month["spent_nusd"], month["base_nusd"], month["cap_nusd"]) == (16_500_000_000, 10**10, 5 * 10**10)
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{process.url}/api/user-invoices", headers={"authorization": f"Bearer {key}"}) as response,
        ):
            snapshot = (await response.json())["snapshot"]
        assert snapshot["books"] == {
            "parcels": {"parcels": 1, "per_parcel_cents": 450, "parcels_cents": 450, "total_cents": 1650}
        }
        totals = snapshot["totals"]
        assert (totals["push_total_cents"], totals["spent_cents"], totals["grand_total_cents"]) == (1650, 0, 1650)
        status, refused = await ask("order", id="p3", grams=50_000)
        assert (status, refused["code"], refused["left_usd"]) == (402, "PARCEL_CAP", 29.0)
    finally:
        await process.stop()


def test_the_page_of_integrations_begins_with_what_works_and_leads_to_its_chapters(tmp_path: Path) -> None:
    begin = [line for line in INTEGRATIONS.splitlines() if line.startswith("## ")][:2]
    assert begin == ["## The smallest thing that works", "## What an integration can have"]
    assert INTEGRATIONS.splitlines()[2].startswith("What for: ")
    headings = re.findall(r"^##+ (.+)$", INTEGRATIONS, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    contents = INTEGRATIONS.partition("## What an integration can have\n")[2].partition("\n## ")[0]
    assert [link for link in re.findall(r"\]\(#([^)]+)\)", contents) if link not in anchors] == []
    (tmp_path / "ping.py").write_text(blocks(INTEGRATIONS, "python")[0])
    (tmp_path / "kaixu.yaml").write_text(blocks(INTEGRATIONS, "yaml")[0])
    catalog = build(load(tmp_path / "kaixu.yaml", {}), tmp_path)
    assert {name: state.state for name, state in catalog.integrations.items()} == {"ping": "on"}
