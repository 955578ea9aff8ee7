"""Tools of all measurements: wrk, an upstream, and waiting for a port."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.support.process import free_port

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("BENCH_SECONDS", "6"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))


@dataclass
class Load:
    """One run of wrk."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int


def wrk(url: str, connections: int, key: str, seconds: int = SECONDS, script: str = "chat.lua", **more: str) -> Load:
    """Load `url` for some seconds; `more` is passed to the script as environment variables."""
    ran = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "10", "-s", str(HERE / script), url],
        env={**os.environ, "KAIXU_KEY": key, **more},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+)", ran.stdout)
    assert found is not None, ran.stdout + ran.stderr
    rate, p50, p99, failed = found.groups()
    return Load(float(rate), float(p50), float(p99), int(failed))


def nginx(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The upstream."""
    port = free_port()
    (folder / "nginx.conf").write_text((HERE / "upstream.conf").read_text().replace("UPSTREAM_PORT", str(port)))
    folder.chmod(0o777)
    process = subprocess.Popen(
        ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL
    )
    return process, f"http://127.0.0.1:{port}"


async def wait_for(url: str, seconds: float = 10) -> None:
    """Wait until something listens."""
    async with aiohttp.ClientSession() as http:
        for _ in range(int(seconds * 20)):
            try:
                async with http.post(url, data=b"{}"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    raise AssertionError(f"nothing listens at {url}")


def python() -> str:
    """The interpreter, for the heads of results: one built without optimizations is up to a fifth slower."""
    is_system = Path(sys.executable).resolve().parent == Path("/usr/bin")
    return f"Python {platform.python_version()} ({'the system package' if is_system else 'built from source'})"


def table(rows: list[list[str]]) -> str:
    """A Markdown table."""
    head, *rest = rows
    return "\n".join(
        ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rest)]
    )
