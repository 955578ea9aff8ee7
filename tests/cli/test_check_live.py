"""`kaixu check --live`: one cheap call to each deployment, without a gateway and without a customer."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.failing import DIMENSIONS, FailingVendor
from tests.support.kaixu import run_kaixu
from tests.support.process import free_port
from tests.support.vendor import Vendor

KEY = "vendor-key-4711-that-nobody-may-see"


@pytest.fixture
async def vendors() -> AsyncIterator[tuple[Vendor, FailingVendor]]:
    """A vendor of chats, and one of embeddings."""
    chats, embeddings = Vendor(), FailingVendor()
    await chats.start()
    await embeddings.start()
    yield chats, embeddings
    await chats.stop()
    await embeddings.stop()


async def check(folder: Path, config: str, *options: str) -> subprocess.CompletedProcess[str]:
    """`kaixu check --live` for a file."""
    (folder / "kaixu.yaml").write_text(config)
    environment = {"PATH": os.environ["PATH"], "KAIXU_HOME": str(folder)}
    return await asyncio.to_thread(
        run_kaixu, "check", "--live", "--no-database", *options, environment=environment, folder=folder
    )


def lane(name: str, url: str, *models: str, kind: str = "chat") -> str:
    """A lane of kaixu.yaml."""
    more = f"price: {{input: 1}}, dimensions: {DIMENSIONS}" if kind == "embed" else "price: {input: 1, output: 2}"
    listed = ", ".join(f"{model}: {{type: {kind}, {more}}}" for model in models)
    return f"  {name}: {{plugin: openai, base_url: '{url}', api_key: {KEY}, models: {{{listed}}}}}\n"


async def test_each_deployment_is_called_once_and_the_failing_ones_are_named(
    vendors: tuple[Vendor, FailingVendor], tmp_path: Path
) -> None:
    chats, embeddings = vendors
    config = "lanes:\n" + lane("up", chats.url, "ok", "status-401", "hang")
    config += lane("vectors", embeddings.url, "fine", "no-json", kind="embed")
    config += lane("dead", f"http://127.0.0.1:{free_port()}/v1", "m")
    ran = await check(tmp_path, config, "--json", "--timeout-s", "2")
    assert ran.returncode == 1
    assert "Your vendors bill you" in ran.stderr
    assert KEY not in ran.stdout + ran.stderr
    rows = json.loads(ran.stdout)["live"]
    found = {(row["lane"], row["model"]): (row["state"], row["code"], row["vendor"]) for row in rows}
    assert found == {
        ("up", "ok"): ("ok", None, None),
        ("up", "status-401"): ("wrong", "UPSTREAM_ERROR", 401),
        ("up", "hang"): ("wrong", "UPSTREAM_TIMEOUT", None),
        ("vectors", "fine"): ("ok", None, None),
        ("vectors", "no-json"): ("wrong", "UPSTREAM_ERROR", None),
        ("dead", "m"): ("wrong", "UPSTREAM_ERROR", None),
    }
    assert "vendor secret" in next(row["detail"] for row in rows if row["model"] == "status-401")
    assert sorted(request["model"] for request in chats.requests) == ["hang", "ok", "status-401"]
    assert {request.get("max_completion_tokens") or request.get("max_tokens") for request in chats.requests} == {1}


async def test_it_succeeds_if_all_answer_and_prints_a_table(
    vendors: tuple[Vendor, FailingVendor], tmp_path: Path
) -> None:
    ran = await check(tmp_path, "lanes:\n" + lane("up", vendors[0].url, "ok"))
    assert ran.returncode == 0, ran.stderr
    assert [line.split()[:3] for line in ran.stdout.splitlines() if line.startswith("up")] == [["up", "ok", "ok"]]
