"""Two checkouts of the gateway under the same load, in turn (A B A B …): calls a second, latency, CPU a call.

    python -m bench.compare OTHER_CHECKOUT

OTHER_CHECKOUT is a folder with a working `.venv` (`git worktree add`, then `make lint` there). This checkout is B. Needs
`wrk` and `nginx`, see `bench/__main__.py`. `BENCH_CALLS`, `BENCH_CONNECTIONS`: only some of the measurements.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

from bench.load import ROUNDS, SECONDS, nginx, table, wrk
from bench.stage import config
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.process import Process

HERE = Path(__file__).parents[1]
PATHS = {
    "gateway-chat": ("/api/gateway-chat", "chat.lua"),
    "/v1/chat/completions": ("/v1/chat/completions", "openai.lua"),
}
CALLS = os.environ.get("BENCH_CALLS", " ".join(PATHS)).split()
CONNECTIONS = [int(number) for number in os.environ.get("BENCH_CONNECTIONS", "1 32").split()]


class Checkout(Process):
    """A gateway out of some checkout's own environment."""

    def __init__(self, folder: Path, home: Path, dsn: str, text: str) -> None:
        super().__init__(home, dsn, text)
        self.folder = folder
        self.key = ""

    def launch(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        """`kaixu serve` of that checkout."""
        command = [str(self.folder / ".venv" / "bin" / "kaixu"), "serve"]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)


@dataclass
class Measured:
    """What one round of load showed."""

    rate: float
    p50_ms: float
    cpu_us: float


async def opened(folder: Path, name: str, home: Path, dsn: str, upstream: str) -> Checkout:
    """A gateway of `folder` with a database of its own, and a key that no limit stops."""
    admin = await asyncpg.connect(dsn)
    await admin.execute(f'create database "{name}"')
    await admin.close()
    parts = urlsplit(dsn)
    own = urlunsplit(parts._replace(path=f"/{name}"))
    gateway = Checkout(folder, home / name, own, config(upstream))
    await gateway.start()
    pool = await open_pool(own)
    customer_id = await customer(pool, cap_nusd=10**15, allowed_providers=["up"], max_devices_per_key=3)
    _, gateway.key = await virtual_key(
        pool, customer_id, rpm_limit=10**7, rpd_limit=10**9, monthly_cap_nusd=10**15, max_devices=3
    )
    await pool.close()
    return gateway


async def measured(gateway: Checkout, path: str, script: str, connections: int, seconds: int) -> Measured:
    """One round."""
    assert gateway.process is not None
    process = psutil.Process(gateway.process.pid)
    before = sum(process.cpu_times()[:2])
    load = await asyncio.to_thread(
        wrk, gateway.url + path, connections, gateway.key, seconds, script, MODEL="up/up-chat"
    )
    cpu_s = sum(process.cpu_times()[:2]) - before
    return Measured(load.rate, load.p50_ms, cpu_s / (load.rate * seconds) * 1e6)


def shown(values: list[float], unit: str, digits: int) -> str:
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} {unit} ({low:,.{digits}f} to {high:,.{digits}f})"


async def main(other: Path) -> None:
    """Measure and print."""
    home = Path(tempfile.mkdtemp(prefix="kaixu-compare-"))
    home.chmod(0o755)
    (home / "nginx").mkdir()
    server = EmbeddedPostgres(home)
    dsn = server.start()
    upstream_process, upstream = nginx(home / "nginx")
    gateways: list[Checkout] = []
    try:
        for name, folder in (("a", other), ("b", HERE)):
            gateways.append(await opened(folder, name, home, dsn, upstream))
        rows = [["calls", "connections", "measure", "A", "B", "B / A"]]
        for title in CALLS:
            path, script = PATHS[title]
            for connections in CONNECTIONS:
                for gateway in gateways:
                    await measured(gateway, path, script, connections, 2)
                rounds = [
                    [await measured(gateway, path, script, connections, SECONDS) for gateway in gateways]
                    for _ in range(ROUNDS)
                ]
                for measure, unit, digits in (("rate", "/s", 0), ("p50_ms", "ms", 2), ("cpu_us", "µs", 0)):
                    a, b = ([getattr(pair[side], measure) for pair in rounds] for side in (0, 1))
                    ratio = statistics.median(y / x for x, y in zip(a, b, strict=True))
                    rows.append(
                        [
                            title,
                            str(connections),
                            measure,
                            shown(a, unit, digits),
                            shown(b, unit, digits),
                            f"{ratio:.3f}",
                        ]
                    )
                    sys.stderr.write(f"{rows[-1]}\n")
        sys.stdout.write(table(rows) + "\n")
    finally:
        for gateway in gateways:
            await gateway.stop()
        upstream_process.terminate()
        server.server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).resolve()))
