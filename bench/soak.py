"""The table of bench/SOAK.md: long, stalled, tiny, huge and odd streams through a real gateway, each checked and billed.

`SOAK_MINUTES` is how long the long streams go on. Every text is compared with what the vendor sent, every bill with
the usage event in the database; the gateway's memory is told before, at its highest, and after. Ends with 1 where
something was wrong.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import msgspec
import psutil

from bench.load import table
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.pool import open_pool
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process, config_for
from tests.support.streams import MANY_TOKENS, ReceivedStream, StreamingVendor, listen, mistakes, no_pause

PAGE_MINUTES = 30
MINUTES = float(os.environ.get("SOAK_MINUTES", PAGE_MINUTES))
MOST_MINUTES = 110  # a lane's longest `total_s` is two hours
STALL_S = 60
MEGABYTE = 1024 * 1024
#: How much more memory than after the warm-up the gateway may have at the end.
MOST_GROWTH = 0.1
DOORS = ("native", "openai", "anthropic")
HEAD = ["case", "doors", "streams", "deltas", "text", "took", "memory before", "highest", "after", "end and bill"]


class Case(msgspec.Struct, frozen=True):
    """Streams that run at the same time: one of each model through each door, so many times."""

    name: str
    models: Sequence[str]
    doors: Sequence[str] = DOORS
    times: int = 1
    stall_s: float = 0
    quiet: bool = False  # silent for so long at a time that clients must be pinged

    @property
    def streams(self) -> list[tuple[str, str]]:
        """Door and model of each."""
        return [(door, model) for _ in range(self.times) for door in self.doors for model in self.models]


def cases() -> list[Case]:
    """All of them, in order: the warm-up first, which has one of each kind that takes much memory; two long ones last."""
    seconds = MINUTES * 60
    return [
        Case("warm-up: 500 streams at once", ["steady-100-50"], DOORS[:2], times=250),
        Case("warm-up: deltas of a megabyte", ["megabyte-64-0"], stall_s=2),
        Case("500 streams at once", ["steady-100-50"], DOORS[:2], times=250),
        Case("deltas of one byte", ["byte-20000-0"]),
        Case("deltas of a megabyte", ["megabyte-16-0"]),
        Case("characters cut in the middle", ["cut-2000-0"]),
        Case("no newline at the end", ["open-1000-0", "abrupt-1000-0"]),
        Case("CRLF, CR", ["crlf-1000-0", "cr-1000-0"]),
        Case(f"a reader that stalls for {STALL_S} s", ["megabyte-64-0"], stall_s=STALL_S),
        Case(f"{MINUTES:g} minutes, ten deltas a second", [f"steady-{int(seconds * 10)}-100"]),
        Case(f"{MINUTES:g} minutes, a delta every 20 s", [f"steady-{max(2, int(seconds / 20))}-20000"], quiet=True),
    ]


class Memory:
    """A process's resident memory: `highest` since it was last read."""

    def __init__(self, pid: int) -> None:
        self.process = psutil.Process(pid)
        self.highest = 0

    def now(self) -> int:
        """In bytes."""
        size: int = self.process.memory_info().rss
        self.highest = max(self.highest, size)
        return size

    async def watch(self) -> None:
        """Look often."""
        while True:
            self.now()
            await asyncio.sleep(0.1)


class Soak:
    """A gateway, its vendor and its database, and what was seen of them."""

    def __init__(self, pool: asyncpg.Pool, http: aiohttp.ClientSession, url: str, key: str, memory: Memory) -> None:
        self.pool = pool
        self.http = http
        self.url = url
        self.key = key
        self.memory = memory
        self.rows: list[list[str]] = []
        self.wrong: list[str] = []

    async def run(self, cases: Sequence[Case]) -> None:
        """Run cases at the same time; a row for each."""
        before = self.memory.highest = self.memory.now()
        begun = time.monotonic()
        answers = await asyncio.gather(*(self.streams(case, begun) for case in cases))
        after = self.memory.now()
        for case, (heard, took_s) in zip(cases, answers, strict=True):
            wrong = await mistakes(self.pool, [one for one in heard if isinstance(one, ReceivedStream)])
            wrong += [f"{case.name}: {one!r}" for one in heard if not isinstance(one, ReceivedStream)]
            if case.quiet and not all(one.pings for one in heard if isinstance(one, ReceivedStream)):
                wrong.append(f"{case.name}: silence without a ping")
            self.wrong += wrong
            deltas = sum(one.deltas for one in heard if isinstance(one, ReceivedStream))
            self.rows.append(
                [
                    case.name,
                    ", ".join(case.doors),
                    str(len(heard)),
                    f"{deltas:,}",
                    text_size(sum(one.size for one in heard if isinstance(one, ReceivedStream))),
                    f"{took_s:,.1f} s",
                    *(f"{size / MEGABYTE:.0f} MB" for size in (before, self.memory.highest, after)),
                    "right" if not wrong else f"{len(wrong)} mistakes",
                ]
            )
            sys.stdout.write(" | ".join(self.rows[-1]) + "\n")
            sys.stdout.flush()

    async def streams(self, case: Case, begun: float) -> tuple[list[ReceivedStream | BaseException], float]:
        """What was heard, or raised, and how long it took in seconds."""

        async def stall() -> None:
            await asyncio.sleep(case.stall_s)

        pause = stall if case.stall_s else no_pause
        heard = await asyncio.gather(
            *(listen(self.http, self.url, self.key, door, model, pause) for door, model in case.streams),
            return_exceptions=True,
        )
        return heard, time.monotonic() - begun


def text_size(size: int) -> str:
    """As people write it; `size` in bytes."""
    return f"{size / 1000:,.1f} kB" if size < 10**6 else f"{size / 10**6:,.1f} MB"


@asynccontextmanager
async def soaking(home: Path) -> AsyncIterator[Soak]:
    """Everything started; stopped again at the end."""
    embedded = EmbeddedPostgres(home)
    dsn = embedded.start()
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await connection.close()
    pool = await open_pool(dsn)
    _, key = await virtual_key(pool, await customer(pool, cap_nusd=10**15))
    vendor = StreamingVendor()
    await vendor.start()
    models = sorted({model for case in cases() for model in case.models})
    lane = f"timeouts: {{total_s: {MINUTES * 60 + 300:g}}}"
    # One key makes all calls here, and a reader that stalls is to be waited for.
    limits = f"max_in_flight_per_key: 1000, stall_s: {2 * STALL_S}"
    config = config_for(vendor.url, *models, gateway=limits, lane=lane, model=f"max_output_tokens: {MANY_TOKENS}")
    gateway = Process(home / "gateway", dsn, config)
    try:
        await gateway.start()
        assert gateway.process is not None
        memory = Memory(gateway.process.pid)
        watching = asyncio.ensure_future(memory.watch())
        timeout = aiohttp.ClientTimeout(total=None, sock_read=120)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            yield Soak(pool, http, gateway.url, key, memory)
        watching.cancel()
        await assert_books_balance(pool)
    finally:
        await gateway.stop()
        await vendor.stop()
        await pool.close()
        embedded.server.cleanup()


async def main() -> None:
    """Run, print; write, unless this run was shorter than the page's."""
    if not 0.1 <= MINUTES <= MOST_MINUTES:
        raise SystemExit(f"SOAK_MINUTES must lie between 0.1 and {MOST_MINUTES}")
    home = Path(tempfile.mkdtemp(prefix="kaixu-soak-"))
    home.chmod(0o755)
    try:
        async with soaking(home) as soak:
            crowd, huge, *others, slow, quiet = cases()
            await soak.run([crowd])
            await soak.run([huge])
            warm = soak.memory.now()
            for case in others:
                await soak.run([case])
            await soak.run([slow, quiet])
            growth = soak.memory.now() / warm - 1
            if growth > MOST_GROWTH:
                soak.wrong.append(f"memory grew by {growth:.1%} after the warm-up")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if MINUTES >= PAGE_MINUTES:
        (Path(__file__).parent / "SOAK.md").write_text(report(soak, growth))
    for mistake in soak.wrong:
        sys.stdout.write(f"{mistake}\n")
    sys.stdout.write(f"memory after the warm-up: {growth:+.1%}\n")
    sys.exit(1 if soak.wrong else 0)


def report(soak: Soak, growth: float) -> str:
    """bench/SOAK.md."""
    wrong = "\n".join(f"- {mistake}" for mistake in soak.wrong) or "None."
    return f"""# Streams that hold up

Written by `make soak` on {time.strftime("%Y-%m-%d")}: {os.cpu_count()} cores, Python {platform.python_version()}; one gateway process with everything
on, the vendor's stand-in, the clients and Postgres (embedded) on the same machine. The long streams went on for
{MINUTES:g} minutes (`SOAK_MINUTES`).

Right means: every text is the vendor's, byte for byte and piece for piece; the stream's own last word is complete and
tells the cost; and the usage event in the database holds the vendor's count and exactly that cost.

{table([HEAD, *soak.rows])}

Memory is the gateway's resident size. After the warm-up it changed by {growth:+.1%} (at most {MOST_GROWTH:+.0%}).
The reservations of all calls were gone at the end, and every customer's and key's month added up.

## Mistakes

{wrong}
"""


if __name__ == "__main__":
    asyncio.run(main())
