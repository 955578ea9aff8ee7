"""One process against two on this machine: calls a second, and what takes the cores.

`python -m bench.processes` writes bench/PROCESSES.md. While developing: `BENCH_SECONDS=2 BENCH_ROUNDS=1`.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.load import ROUNDS, SECONDS, Load, python, table, wrk
from bench.stage import PLAIN, Gateway, Stage, cpu_s, stage
from kaixu.gateway.claim import read_about

PAGE = Path(__file__).with_name("PROCESSES.md")
CONNECTIONS = 64
SERVERS = ("hypercorn", "granian")
TARGET = 1.2


@dataclass
class Run:
    """One load, and the seconds of processor that each part took."""

    load: Load
    took: dict[str, float]

    @property
    def calls(self) -> float:
        """How many calls were answered."""
        return self.load.rate * SECONDS


def spent(gateway: Gateway, at: Stage) -> dict[str, float]:
    """Seconds of processor so far, by part."""
    upstream = [child for child in psutil.Process().children() if child.name() == "nginx"]
    load = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "gateway": cpu_s(gateway.pid),
        "Postgres": cpu_s(at.postgres),
        "upstream": sum(cpu_s(one.pid) for one in upstream),
        "generator": load.ru_utime + load.ru_stime,
    }


async def run(gateway: Gateway, at: Stage, seconds: int = SECONDS) -> Run:
    """One load of plain calls."""
    before = spent(gateway, at)
    load = await asyncio.to_thread(
        wrk, f"{gateway.url}/v1/chat/completions", CONNECTIONS, at.key, seconds, "openai.lua", **PLAIN
    )
    return Run(load, {part: value - before[part] for part, value in spent(gateway, at).items()})


async def measured(server: str, at: Stage) -> dict[int, list[Run]]:
    """Rounds of one and two processes of a server, in turns."""
    runs: dict[int, list[Run]] = {1: [], 2: []}
    gateways = {
        count: at.gateway(f"{server}{count}", f"gateway: {{server: {server}, processes: {count}}}") for count in runs
    }
    for one in gateways.values():
        one.environment["KAIXU_ACCESS_LOG"] = "false"
    for _ in range(ROUNDS):
        for count, gateway in gateways.items():
            await gateway.start()
            await all_serve(gateway, count)
            await run(gateway, at, 2)
            runs[count].append(await run(gateway, at))
            await gateway.stop()
    return runs


async def all_serve(gateway: Gateway, count: int) -> None:
    """Wait until all workers serve."""
    while count > 1:
        about = read_about(gateway.home)
        if about is not None and [one.state for one in about.workers] == ["ready"] * count:
            return
        await asyncio.sleep(0.1)


def median(runs: list[Run]) -> Run:
    """The run whose rate is the median."""
    return sorted(runs, key=lambda one: one.load.rate)[len(runs) // 2]


async def compare() -> dict[str, dict[int, list[Run]]]:
    """All runs, by server and number of processes."""
    async with stage() as at:
        return {server: await measured(server, at) for server in SERVERS}


def ratios(found: dict[str, dict[int, list[Run]]]) -> dict[str, float]:
    """How much more two processes answered than one, by server."""
    return {
        server: statistics.median(one.load.rate for one in runs[2])
        / statistics.median(one.load.rate for one in runs[1])
        for server, runs in found.items()
    }


def page(found: dict[str, dict[int, list[Run]]]) -> str:
    """The page."""
    rows = [["server", "processes", "calls/s", "p50 ms", "p99 ms", "failed", "CPU a call: gateway", "all cores: busy"]]
    shares = [["server", "processes", "gateway", "Postgres", "upstream", "generator"]]
    for server, runs in found.items():
        for count, of_count in runs.items():
            one = median(of_count)
            busy = sum(one.took.values()) / SECONDS
            rows.append(
                [
                    server,
                    str(count),
                    f"{one.load.rate:,.0f}",
                    f"{one.load.p50_ms:.1f}",
                    f"{one.load.p99_ms:.1f}",
                    str(sum(run.load.failed for run in of_count)),
                    f"{one.took['gateway'] / one.calls * 1e6:.0f} µs",
                    f"{busy:.2f} of {os.cpu_count()}",
                ]
            )
            shares.append([server, str(count), *(f"{value / SECONDS:.2f}" for value in one.took.values())])
    told = ", ".join(f"{server} {ratio:.2f}×" for server, ratio in ratios(found).items())
    return f"""# Two worker processes against one

Written by `python -m bench.processes`: {os.cpu_count()} cores, {python()}, {CONNECTIONS} connections of wrk, plain calls of `/v1/chat/completions`, {ROUNDS} rounds of {SECONDS} s for each, in turns; the median round.

**Two processes answer {told} of what one does** (target: ≥ {TARGET}×).

{table(rows)}

Generator, upstream and Postgres run on the same cores. What each part took, in cores:

{table(shares)}

One process cannot use more than about one core for its calls; the rest of the machine is what two can gain. When all cores are busy, more processes gain nothing here, where the generator takes its part of them.
"""


async def two_processes() -> list[tuple[str, str, str]]:
    """Measure, write the page; the lines for the table of `make bench`."""
    found = await compare()
    PAGE.write_text(page(found))
    return [
        (f"two processes / one, {server}", f"≥ {TARGET}×", f"{ratio:.2f}×") for server, ratio in ratios(found).items()
    ]


if __name__ == "__main__":
    for line in asyncio.run(two_processes()):
        sys.stdout.write(" | ".join(line) + "\n")
