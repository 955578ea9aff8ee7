"""`kaixu seed-demo`: makes data that reconciles, and removes it."""

from __future__ import annotations

import json
from pathlib import Path

import asyncpg

from tests.support.money import customer
from tests.support.process import Process

from .conftest import CONFIG


async def test_demo_data_from_the_command_line(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    gateway = Process(tmp_path / "home", dsn, CONFIG)
    made = await gateway.command("seed-demo", "--customers", "30", "--events", "900", "--json")
    assert made.returncode == 0, made.stderr
    assert (json.loads(made.stdout)["events"], "30 customers" in made.stderr) == (900, True)
    proven = await gateway.command("reconcile", "--json")
    assert proven.returncode == 0, proven.stderr
    assert json.loads(proven.stdout)["events"] == 900
    other = await gateway.command("seed-demo", "--customers", "31")
    assert (other.returncode, "--remove" in other.stderr) == (1, True)
    removed = await gateway.command("seed-demo", "--remove", "--json")
    assert removed.returncode == 0, removed.stderr
    assert json.loads(removed.stdout)["usage_event"] == 900
    await customer(pool)
    refused = await gateway.command("seed-demo")
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    assert (await gateway.command("seed-demo", "--remove")).returncode == 1
