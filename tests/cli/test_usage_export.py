"""`kaixu usage export`: a whole file has its name, a broken one says so."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
from pathlib import Path

import asyncpg

from kaixu.cli.usage_export import keep_partial
from kaixu.plugin.types import Usage
from tests.support.calls import billed
from tests.support.kaixu import start_kaixu
from tests.support.money import customer, virtual_key
from tests.support.process import Process

from .conftest import CONFIG


async def test_a_month_of_all_customers_in_a_file(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    gateway = Process(tmp_path / "home", dsn, CONFIG)
    for number in range(2):
        key_id, _ = await virtual_key(pool, await customer(pool))
        await billed(pool, key_id, Usage(input_tokens=number + 5))
    file = tmp_path / "calls.csv"
    ran = await gateway.command(
        "usage", "export", "--out", str(file), "--columns", "customer_id,input_tokens", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"file": str(file), "rows": 2}
    assert list(csv.reader(file.read_text().splitlines())) == [
        ["customer_id", "input_tokens"],
        ["1", "5"],
        ["2", "6"],
        ["# rows: 2"],
    ]
    of_one = await gateway.command("usage", "export", "--customer", "customer1@example.com", "--format", "ndjson")
    assert of_one.returncode == 0, of_one.stderr
    [made] = gateway.home.glob("kaixu-admin-events-*-customer2.ndjson")
    first, last = map(json.loads, made.read_text().splitlines())
    assert (first["input_tokens"], last) == (6, {"rows": 1, "limit_reached": False})
    assert not [*tmp_path.rglob("*.part")]


async def test_a_mistake_leaves_no_file(dsn: str, tmp_path: Path) -> None:
    gateway = Process(tmp_path / "home", dsn, CONFIG)
    for words, told in (
        (("--columns", "nothing"), "request_id"),
        (("--customer", "nobody@example.com"), "nobody@example.com"),
        (("--type", "invoice"), "needs one customer"),
    ):
        ran = await gateway.command("usage", "export", "--out", str(tmp_path / "calls.csv"), *words)
        assert ran.returncode == 1
        assert told in ran.stderr
    assert not [*tmp_path.glob("calls*")]


async def test_an_export_that_is_interrupted_before_its_first_line_leaves_no_file(
    dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    gateway = Process(tmp_path / "home", dsn, CONFIG)
    async with pool.acquire() as busy, busy.transaction():
        await busy.execute("lock table kaixu.usage_event in access exclusive mode")
        with (tmp_path / "log").open("wb") as log:
            started = start_kaixu(
                "usage", "export", "--out", str(tmp_path / "calls.csv"), environment=gateway.environment, out=log
            )
        async with asyncio.timeout(20):
            while not [*tmp_path.glob("calls.csv.part")]:
                await asyncio.sleep(0.02)
        started.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(started.wait, 20)
    assert code != 0
    assert [path.name for path in tmp_path.glob("calls*")] == []


def test_a_broken_file_is_called_partial_and_the_old_one_stays(tmp_path: Path) -> None:
    path, part = tmp_path / "calls.csv", tmp_path / "calls.csv.part"
    path.write_text("of yesterday")
    part.write_text("created_at\n# rows: 0-partial\n")
    keep_partial(part, path)
    assert path.read_text() == "of yesterday"
    assert (tmp_path / "calls-partial.csv").read_text().endswith("-partial\n")
    assert not part.exists()
