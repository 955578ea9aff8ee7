"""Measures for bench/ROLLING.md: what clients notice while gateways behind nginx are restarted under load.

`python -m bench.rolling`, or `make bench-rolling`.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.load import python, table
from bench.stage import stage
from tests.support.nginx import balanced, nginx
from tests.support.process import Process

HERE = Path(__file__).parent
CONNECTIONS = 32
#: nginx' default `fail_timeout` is 10 s.
DRAIN_S = 12


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
    async with stage() as here:
        gateways = [
            here.gateway(server, f"gateway: {{server: {server}, drain_s: {DRAIN_S}}}\n")
            for server in ("hypercorn", "granian")
        ]
        kept, kept_url = balanced(
            [gateway.port for gateway in gateways],
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
            with nginx(here.home / "balancer", kept):
                for what, seconds, work in runs:
                    one = await under_load(f"{kept_url}/api/gateway-chat", here.key, seconds, work)
                    took = "" if work is nothing else f"{one.seconds - 2:.0f} s"
                    rows.append(
                        [what, f"{one.calls:,}", str(one.failed), f"{one.p50_ms:.1f} ms", f"{one.p99_ms:.1f} ms", took]
                    )
                    print(rows[-1])
            billed = await here.pool.fetchval("select count(*) from kaixu.usage_event")
        finally:
            for gateway in gateways:
                if gateway.process is not None:
                    gateway.kill()
    (HERE / "ROLLING.md").write_text(f"""# Gateways restarted under load

`make bench-rolling` wrote this page: two gateways, one on Hypercorn and one on Granian, behind Debian's nginx with kept
connections and its defaults for failed servers, `drain_s: {DRAIN_S}`, {CONNECTIONS} connections of wrk that call without
a pause, on {psutil.cpu_count()} cores of {platform.machine()} with {python()}. Load generator, nginx, the vendor's stand-in,
Postgres and the starting gateways share the machine. A failed call is a status other than 200, or a connection that
broke.

{table(rows)}

Events of usage in the database: {billed:,}. wrk breaks off its last calls at the end of each run; these are billed, too.
See [updates](../docs/operators/updates.md).
""")
    return [("failed calls under load: " + what, "0", f"{failed} of {calls}") for what, calls, failed, *_ in rows[2:]]


if __name__ == "__main__":
    asyncio.run(restarts())
