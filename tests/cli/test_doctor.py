"""`kaixu doctor` and the gateway that runs, wherever that is."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kaixu.store.spool import Spool
from tests.support.process import Process
from tests.support.settlements import settlement

from .conftest import CONFIG


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str) -> AsyncIterator[Process]:
    """A gateway with a data folder of its own."""
    process = Process(tmp_path / "gateway", dsn, CONFIG)
    yield await process.start()
    await process.stop()


async def rows(gateway: Process, **environment: str) -> dict[str, dict[str, Any]]:
    """What doctor finds, by what it looked at."""
    ran = await gateway.command("doctor", "--json", **environment)
    assert "Traceback" not in ran.stderr
    found = {row["what"]: row for row in json.loads(ran.stdout)}
    assert ran.returncode == any(row["state"] == "wrong" for row in found.values())
    return found


async def test_doctor_describes_the_gateway_of_its_data_folder(gateway: Process) -> None:
    found = await rows(gateway)
    assert gateway.process is not None
    for part in (f"process {gateway.process.pid} since", gateway.url, "hypercorn", str(gateway.home)):
        assert part in found["gateway"]["detail"]
    names = ("gateway", "gateway's health", "gateway's database", "gateway's config", "spool", "refused settlements")
    assert [found[name]["state"] for name in names] == ["ok"] * 6
    assert found["gateway's health"]["detail"] == "200: 0 calls in flight"
    assert found["gateway's config"]["detail"] == str(gateway.config)
    assert await gateway.stop() == 0
    found = await rows(gateway)
    assert (found["gateway"]["state"], found["gateway"]["detail"]) == (
        "off",
        f"none runs with data folder {gateway.home}",
    )


async def test_doctor_says_where_the_shell_means_something_else_than_the_gateway(
    gateway: Process, server_dsn: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG)
    found = await rows(gateway, DATABASE_URL=server_dsn, KAIXU_CONFIG=str(other))
    assert found["gateway's database"]["state"] == "wrong"
    assert "DATABASE_URL here says" in found["gateway's database"]["detail"]
    assert found["gateway's config"]["state"] == "wrong"
    assert found["gateway's config"]["detail"] == f"{gateway.config}; KAIXU_CONFIG here says {other}"


async def test_doctor_finds_a_gateway_with_another_data_folder_and_what_it_could_not_settle(
    gateway: Process, tmp_path: Path
) -> None:
    refused = Spool(gateway.home / "spool" / "refused", "kept")
    refused.append([settlement()])
    assert refused.file is not None
    refused.file.close()
    found = await rows(gateway, KAIXU_HOME=str(tmp_path / "elsewhere"))
    assert gateway.process is not None
    assert found["gateway"]["state"] == "off"
    its = found[f"gateway in {gateway.home}"]["detail"]
    assert f"process {gateway.process.pid}" in its
    assert "database " in its
    lost = found[f"refused settlements in {gateway.home}"]
    assert (lost["state"], lost["detail"]) == ("wrong", f"1 in {gateway.home / 'spool' / 'refused'}")


async def test_no_file_of_a_running_gateway_holds_a_secret(gateway: Process) -> None:
    said = (gateway.home / "serve.json").read_text()
    for name in ("ADMIN_PASSWORD", "JWT_SECRET", "KEY_PEPPER", "DB_ENCRYPTION_KEY", "DATABASE_URL"):
        assert gateway.environment[name] not in said
    assert (gateway.home / "serve.json").stat().st_mode & 0o077 == 0


async def test_serve_says_in_json_where_it_listens(gateway: Process, tmp_path: Path) -> None:
    home = tmp_path / "second"
    home.mkdir()
    environment = gateway.environment | {"KAIXU_HOME": str(home), "KAIXU_BIND": "127.0.0.1:0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kaixu", "serve", "--json", env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = json.loads(await process.stdout.readuntil(b"\n}\n"))
    assert said == {
        "url": "http://127.0.0.1:0",
        "pid": process.pid,
        "lanes": {"echo": {"state": "on", "reason": None}},
        "notes": [],
    }
    process.terminate()
    assert await process.wait() == 0
