"""What calls cost as customers, usage events and processes grow, through real gateways: for bench/SCALE.md.

    python -m bench.growth prepare           makes the databases in BENCH_HOME (minutes; the machine may be busy)
    python -m bench.growth PIECE [PIECE …]   measures, at most a minute each; each adds to BENCH_HOME/growth.jsonl
    python -m bench.growth table             the figures so far
    python -m bench.growth stop              stops the database of BENCH_HOME

Pieces: `customers:N`, `events:N`, `hot:PROCESSES`, `beside`, `processes:N`, `log:CUSTOMERS`, `steady:CUSTOMERS`. Without
a word: all of them, in turn. Each row says which part of all cores the gateway, Postgres, the upstream, the generator and anything else
took meanwhile: "else" tells how quiet the machine was.

`BENCH_CUSTOMERS`, `BENCH_EVENTS`, `BENCH_PROCESSES`: sizes, with commas between them; `BENCH_SECONDS`: of each load;
`BENCH_CONNECTIONS`; `BENCH_STEADY_CALLS` in slices of `BENCH_STEADY_SECONDS`; `BENCH_SERVER`: granian or hypercorn.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from bench.growth_data import in_database, prepare_all, start_postgres, stop_postgres
from bench.growth_log import log_by_relation, log_rows
from bench.load import Load, nginx, table, wrk
from bench.processes import all_serve
from bench.stage import Gateway, config, need, postgres_pid

HOME = Path(os.environ.get("BENCH_HOME") or Path(tempfile.gettempdir()) / f"kaixu-growth-{os.getuid()}")
FIGURES = HOME / "growth.jsonl"


def numbers(name: str, default: str) -> list[int]:
    """Sizes from the environment."""
    return [int(one) for one in os.environ.get(name, default).split(",") if one]


CUSTOMERS = numbers("BENCH_CUSTOMERS", "10,1000,100000")
EVENTS = numbers("BENCH_EVENTS", "10000,100000,1000000")
PROCESSES = numbers("BENCH_PROCESSES", "1,2,3")
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "32"))
STEADY_CALLS = int(os.environ.get("BENCH_STEADY_CALLS", "200000"))
STEADY_SECONDS = int(os.environ.get("BENCH_STEADY_SECONDS", "20"))
SERVER = os.environ.get("BENCH_SERVER", "granian")
#: Customers of all measurements but those of their number.
USUAL = int(os.environ.get("BENCH_USUAL_CUSTOMERS", "1000"))

STATE = """
    select pg_current_wal_insert_lsn() - '0/0'::pg_lsn as wal, pg_database_size(current_database()) as disk,
           (select wal_fpi from pg_stat_wal) as images, (select sum(calls) from kaixu.customer_month) as calls
"""
PARTS = ("gateway", "postgres", "upstream", "generator")


def tree_cpu_s(pid: int) -> float:
    """Seconds of processor of a process and all below it, those that were waited for included."""
    process = psutil.Process(pid)
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident megabytes of the largest of a process and all below it; of all of them, shared pages counted once."""
    process = psutil.Process(pid)
    sizes = [one.memory_full_info() for one in (process, *process.children(recursive=True))]
    return max(one.rss for one in sizes) / 2**20, sum(one.pss for one in sizes) / 2**20


def busy_s() -> float:
    """Seconds that all processors were busy with anything, those taken by the host included."""
    times = psutil.cpu_times()
    return float(sum(times[:9]) - times.idle - times.iowait - times.guest - times.guest_nice)


@dataclass
class Setting:
    """A gateway on one of the databases."""

    gateway: Gateway
    postgres: int
    upstream: int
    db: asyncpg.Connection

    def spent(self) -> dict[str, float]:
        """Seconds of processor so far, by part."""
        generator = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "gateway": tree_cpu_s(self.gateway.pid),
            "postgres": tree_cpu_s(self.postgres),
            "upstream": tree_cpu_s(self.upstream),
            "generator": generator.ru_utime + generator.ru_stime,
            "all": busy_s(),
        }


@asynccontextmanager
async def setting(customers: int, events: int = 0, processes: int = 1) -> AsyncIterator[Setting]:
    """Start a gateway (with `processes` workers) on a database that was prepared."""
    need("wrk", "nginx")
    dsn = in_database(await asyncio.to_thread(start_postgres, HOME), f"growth_{customers}_{events}")
    with tempfile.TemporaryDirectory(prefix="kaixu-bench-") as name:
        home = Path(name)
        (home / "nginx").mkdir()
        home.chmod(0o755)
        upstream, url = nginx(home / "nginx")
        several = f", processes: {processes}" if processes > 1 else ""
        text = f"gateway: {{server: {SERVER}{several}}}\n" + config(url)
        gateway = Gateway(home / "gateway", dsn, text, KAIXU_ACCESS_LOG="false")
        db = await asyncpg.connect(dsn)
        try:
            await gateway.start()
            async with asyncio.timeout(60):
                await all_serve(gateway, processes)
            here = Setting(gateway, postgres_pid(HOME), upstream.pid, db)
            await load(here, customers, 3, connections=CONNECTIONS * processes)
            yield here
        finally:
            await gateway.stop()
            await db.close()
            upstream.terminate()
            upstream.wait(30)


async def load(
    here: Setting, customers: int, seconds: int = SECONDS, *, connections: int = CONNECTIONS, first: int = 1
) -> Load:
    """Plain calls of so many customers, from number `first` on."""
    more = {"KEYS": str(customers), "FIRST": str(first), "SEED": str(time.time_ns() % 10**6)}
    return await asyncio.to_thread(wrk, here.gateway.url, connections, "", seconds, "keys.lua", **more)


async def measured(
    here: Setting, piece: str, what: str, *loads: tuple[int, int, int], seconds: int = SECONDS, **about: int
) -> None:
    """Run loads side by side — (customers, the first one, connections) — and note the figures of the first one."""
    before, state, began = here.spent(), await here.db.fetchrow(STATE), time.perf_counter()
    results = await asyncio.gather(
        *(load(here, customers, seconds, first=first, connections=width) for customers, first, width in loads)
    )
    took_s, spent = time.perf_counter() - began, here.spent()
    after = await here.db.fetchrow(STATE)
    assert state is not None
    assert after is not None
    largest_mb, all_mb = memory_mb(here.gateway.pid)
    calls = int(after["calls"] - state["calls"])
    used = {part: spent[part] - before[part] for part in spent}
    capacity_s = took_s * (os.cpu_count() or 1)
    share = {part: used[part] / capacity_s for part in PARTS}
    share["else"] = max(0.0, used["all"] / capacity_s - sum(share.values()))
    one = results[0]
    note(
        {
            "piece": piece,
            "what": what,
            **about,
            "connections": loads[0][2],
            "rate": one.rate,
            "p50_ms": one.p50_ms,
            "p99_ms": one.p99_ms,
            "failed": sum(each.failed for each in results),
            "calls": calls,
            "gateway_us": used["gateway"] / calls * 1e6,
            "postgres_us": used["postgres"] / calls * 1e6,
            "wal_bytes": float(after["wal"] - state["wal"]) / calls,
            "images": float(after["images"] - state["images"]) / calls,
            "disk_bytes": (after["disk"] - state["disk"]) / calls,
            "database_mb": after["disk"] / 2**20,
            "memory_mb": largest_mb,
            "all_memory_mb": all_mb,
            "share": {part: round(value, 3) for part, value in share.items()},
            "at": time.strftime("%H:%M:%S", time.gmtime()),
        }
    )


def note(row: dict[str, Any]) -> None:
    """Keep a row, and show it."""
    with FIGURES.open("a") as file:
        file.write(json.dumps(row) + "\n")
    sys.stdout.write(" | ".join(cells([row])) + "\n")
    sys.stdout.flush()


async def of_customers(count: int) -> None:
    """Calls of many customers: as many as the machine can, and one at a time."""
    async with setting(count) as here:
        await measured(here, "customers", f"{count:,} customers", (count, 1, CONNECTIONS), size=count)
        await measured(here, "customers", f"{count:,} customers", (count, 1, 1), size=count, seconds=SECONDS // 2)


async def of_events(count: int) -> None:
    """Calls beside many usage events of others."""
    async with setting(USUAL, count) as here:
        await measured(here, "events", f"{count:,} events", (USUAL, 1, CONNECTIONS), size=count)


async def of_processes(count: int) -> None:
    """Calls of many customers, served by so many processes."""
    async with setting(USUAL, processes=count) as here:
        await measured(here, "processes", f"{count} processes", (USUAL, 1, 2 * CONNECTIONS), size=count)


async def of_hot(processes: int) -> None:
    """The same load of one customer, and of many."""
    async with setting(USUAL, processes=processes) as here:
        for what, customers in (("many customers", USUAL), ("one customer", 1)):
            await measured(
                here, "hot", f"{what}, {processes} processes", (customers, 1, 2 * CONNECTIONS), size=processes
            )


async def beside_hot(_: int) -> None:
    """Few calls of many customers beside many of one, beside as many of many, and alone."""
    async with setting(USUAL) as here:
        few = (USUAL - 1, 2, 8)
        await measured(here, "beside", "8 connections of many customers, alone", few)
        for what, customers in (("many others", USUAL), ("one customer", 1)):
            await measured(
                here, "beside", f"8 connections of many customers, beside {CONNECTIONS} of {what}", few, (customers, 1, CONNECTIONS)
            )  # fmt: skip


async def of_steady(customers: int) -> None:
    """Very many calls in slices: memory of the gateway, log and disk a call."""
    async with setting(customers) as here:
        began = await calls_of(here)
        while (done := await calls_of(here) - began) < STEADY_CALLS:
            what = f"{customers:,} customers, after {done:,} calls"
            await measured(here, "steady", what, (customers, 1, 64), seconds=STEADY_SECONDS, size=customers)


async def of_log(customers: int) -> None:
    """What the log is made of, under the usual load."""
    async with setting(customers) as here:
        place = "select pg_current_wal_insert_lsn()::text"
        start, before = await here.db.fetchval(place), await calls_of(here)
        await load(here, customers)
        end, calls = await here.db.fetchval(place), await calls_of(here) - before
        found = await log_by_relation(here.db, HOME / "postgres", start, end)
        a_call = {name: size / calls for name, size in found.items()}
        with FIGURES.open("a") as file:
            file.write(json.dumps({"piece": "log", "what": f"{customers:,} customers", "bytes": a_call}) + "\n")
        sys.stdout.write(table(log_rows(a_call)) + "\n")


async def calls_of(here: Setting) -> int:
    """How many calls are settled."""
    return int(await here.db.fetchval("select sum(calls) from kaixu.customer_month"))


PIECES = {
    "customers": of_customers,
    "events": of_events,
    "processes": of_processes,
    "hot": of_hot,
    "beside": beside_hot,
    "steady": of_steady,
    "log": of_log,
}
#: A column: its head, the figure, and how it is written.
USUAL_COLUMNS = (
    ("calls/s", "rate", ",.0f"),
    ("p50 ms", "p50_ms", ",.1f"),
    ("p99 ms", "p99_ms", ",.1f"),
    ("gateway µs", "gateway_us", ",.0f"),
    ("Postgres µs", "postgres_us", ",.0f"),
    ("WAL bytes", "wal_bytes", ",.0f"),
    ("page images", "images", ".2f"),
    ("disk bytes", "disk_bytes", ",.0f"),
)
DATABASE = ("database MB", "database_mb", ",.0f")
MEMORY = (("largest process MB", "memory_mb", ",.0f"), ("all processes MB", "all_memory_mb", ",.0f"))
MORE_COLUMNS = {"customers": (DATABASE,), "events": (DATABASE,), "processes": MEMORY, "steady": (DATABASE, *MEMORY)}
SHARES = "gateway / Postgres / upstream / generator / else, % of all cores"


def head(piece: str) -> list[str]:
    """The first row of a piece's table."""
    columns = [name for name, _, _ in (*USUAL_COLUMNS, *MORE_COLUMNS.get(piece, ()))]
    return ["", "connections", *columns, SHARES, "failed", "runs"]


def cells(rows: list[dict[str, Any]]) -> list[str]:
    """A row of the table: medians of its runs."""
    columns = (*USUAL_COLUMNS, *MORE_COLUMNS.get(rows[0]["piece"], ()))
    figures = [format(statistics.median(row[name] for row in rows), form) for _, name, form in columns]
    shares = [statistics.median(row["share"][part] for row in rows) for part in (*PARTS, "else")]
    share = " / ".join(f"{100 * one:.0f}" for one in shares)
    failed = sum(row["failed"] for row in rows)
    return [rows[0]["what"], str(rows[0]["connections"]), *figures, share, str(failed), str(len(rows))]


def tables() -> str:
    """All figures so far, a table for each kind of piece."""
    rows = [json.loads(line) for line in FIGURES.read_text().splitlines()]
    out = []
    for piece in dict.fromkeys(row["piece"] for row in rows):
        if piece == "log":
            continue
        groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for row in rows:
            if row["piece"] == piece:
                groups.setdefault((row["what"], row["connections"]), []).append(row)
        out.append(f"### {piece}\n\n" + table([head(piece), *map(cells, groups.values())]))
    for row in rows:
        if row["piece"] == "log":
            out.append(f"### log, {row['what']}\n\n" + table(log_rows(row["bytes"])))
    return "\n\n".join(out)


def everything() -> list[str]:
    """All pieces."""
    return [
        *(f"customers:{size}" for size in CUSTOMERS),
        *(f"events:{size}" for size in EVENTS),
        *(f"processes:{size}" for size in PROCESSES),
        *(f"hot:{size}" for size in (PROCESSES[0], PROCESSES[-1])),
        "beside",
        *(f"log:{size}" for size in (USUAL, CUSTOMERS[-1])),
        f"steady:{CUSTOMERS[-1]}",
    ]


def main(words: list[str]) -> None:
    """Do what the words say."""
    for word in words:
        name, _, size = word.partition(":")
        if name == "prepare":
            prepare_all(HOME, [*((one, 0) for one in sorted({*CUSTOMERS, USUAL})), *((USUAL, one) for one in EVENTS)])
        elif name == "table":
            sys.stdout.write(tables() + "\n")
        elif name == "stop":
            stop_postgres(HOME)
        elif name == "all":
            # A process for each, so that none sees what another one did.
            for piece in everything():
                subprocess.run([sys.executable, "-m", "bench.growth", piece], check=True)
        elif name in PIECES:
            asyncio.run(PIECES[name](int(size or "0")))
        else:
            raise SystemExit(f"unknown: {word} (see the first lines of bench/growth.py)")


if __name__ == "__main__":
    main(sys.argv[1:] or ["prepare", "all", "table"])
