"""Measures for bench/ROLLING.md: what clients notice while gateways behind nginx are restarted under load.

`python -m bench.rolling`, or `make bench-rolling`.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

from bench.load import nginx as vendor_nginx
from bench.load import table
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.nginx import balanced, nginx
from tests.support.process import Process

HERE = Path(__file__).parent
CONNECTIONS = 32
#: nginx' default `fail_timeout` is 10 s.
DRAIN_S = 12
CONFIG = """
gateway: {{server: {server}, drain_s: {drain_s}}}
lanes:
  up:
    plugin: openai
    base_url: {upstream}/v1
    api_key: bench
    models:
      up-chat: {{type: chat, price: {{input: 1, output: 2}}}}
"""


@dataclass
class Noticed:
    """What the clients of one run noticed."""

    calls: int
    failed: int
    p50_ms: float
    p99_ms: float
    seconds: float


async def restart(gateway: Process) -> None:
    """Stop a gateway as an update does, and start it again."""
    await gateway.stop()
    await gateway.start()


async def under_load(url: str, key: str, seconds: int, work: Callable[[], Awaitable[None]]) -> Noticed:
    """Load `url` while `work` is done, which must take less than `seconds`."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--timeout", "30", "-s", str(HERE / "chat.lua"), url]
    environment = {**os.environ, "KAIXU_KEY": key}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
    reading = asyncio.ensure_future(process.communicate())
    began = time.monotonic()
    await asyncio.sleep(2)
    await work()
    took_s = time.monotonic() - began
    text = (await reading)[0].decode()
    assert took_s < seconds, f"the restarts took {took_s:.0f} s, longer than the load"
    found = re.search(r"RESULT \S+ (\S+) (\S+) (\d+)", text)
    counted = re.search(r"(\d+) requests in", text)
    assert found is not None, text
    assert counted is not None, text
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = int(found[3]) + (sum(map(int, broken.groups())) if broken else 0)
    return Noticed(int(counted[1]), failed, float(found[1]), float(found[2]), took_s)


async def nothing() -> None:
    """Restart no gateway."""


async def restarts() -> list[tuple[str, str, str]]:
    """Measure and write; the lines of `make bench`: what, target, measured."""
    for tool in ("wrk", "nginx"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed: apt-get install wrk nginx-light")
    home = Path(tempfile.mkdtemp(prefix="kaixu-rolling-"))
    home.chmod(0o755)
    (home / "vendor").mkdir()
    embedded = EmbeddedPostgres(home)
    dsn = embedded.start()
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await connection.close()
    pool = await open_pool(dsn)
    _, key = await virtual_key(
        pool, await customer(pool, cap_nusd=10**15), rpm_limit=10**7, monthly_cap_nusd=10**15, max_devices=3
    )
    vendor, upstream = vendor_nginx(home / "vendor")
    gateways = [
        Process(home / server, dsn, CONFIG.format(server=server, drain_s=DRAIN_S, upstream=upstream))
        for server in ("hypercorn", "granian")
    ]
    ports = [gateway.port for gateway in gateways]
    kept, kept_url = balanced(
        ports,
        upstream="keepalive 64; keepalive_timeout 10s;",
        location='proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;',
    )
    first, second = gateways

    async def both() -> None:
        for gateway in gateways:
            await restart(gateway)

    runs: list[tuple[str, int, Callable[[], Awaitable[None]]]] = [
        ("nothing is restarted", 6, nothing),
        ("the gateway on Hypercorn is restarted", 21, lambda: restart(first)),
        ("the gateway on Granian is restarted", 21, lambda: restart(second)),
        ("both, one directly after the other", 38, both),
    ]
    rows = [["under load", "calls", "failed", "p50", "p99", "restarts took"]]
    try:
        await asyncio.gather(*(gateway.start() for gateway in gateways))
        with nginx(home / "nginx", kept):
            for what, seconds, work in runs:
                one = await under_load(f"{kept_url}/api/gateway-chat", key, seconds, work)
                took = "" if work is nothing else f"{one.seconds - 2:.0f} s"
                rows.append(
                    [what, f"{one.calls:,}", str(one.failed), f"{one.p50_ms:.1f} ms", f"{one.p99_ms:.1f} ms", took]
                )
                print(rows[-1])
        billed = await pool.fetchval("select count(*) from kaixu.usage_event")
    finally:
        for gateway in gateways:
            if gateway.process is not None:
                gateway.kill()
        vendor.terminate()
        await pool.close()
        embedded.server.cleanup()
        shutil.rmtree(home, ignore_errors=True)
    (HERE / "ROLLING.md").write_text(f"""# Gateways restarted under load

`make bench-rolling` wrote this page: two gateways, one on Hypercorn and one on Granian, behind Debian's nginx with kept
connections and its defaults for failed servers, `drain_s: {DRAIN_S}`, {CONNECTIONS} connections of wrk that call without
a pause, on {psutil.cpu_count()} cores of {platform.machine()} with Python {platform.python_version()}. Load generator, nginx, the vendor's stand-in,
Postgres and the starting gateways share the machine. A failed call is a status other than 200, or a connection that
broke.

{table(rows)}

Events of usage in the database: {billed:,}. wrk breaks off its last calls at the end of each run; these are billed, too.
See [updates](../docs/operators/updates.md).
""")
    return [("failed calls under load: " + what, "0", f"{failed} of {calls}") for what, calls, failed, *_ in rows[2:]]


if __name__ == "__main__":
    asyncio.run(restarts())
