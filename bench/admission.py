"""What the two statements of a call take, without a gateway: admission and settlement alone and in groups.

    python -m bench.admission [OTHER_CHECKOUT]

OTHER_CHECKOUT is a folder with another commit (`git worktree add`), A; this checkout is B. Each has a database of its own,
in one Postgres, and a process of its own; their turns alternate (A B B A …), so that both see the same machine. Without
it only this checkout is measured. `BENCH_RUNS`: how often. `BENCH_HOME`: a folder for the database; else it is in memory,
where nothing waits for a disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import prepare_connection
from tests.conftest import memory
from tests.support.money import customer, virtual_key

HERE = Path(__file__).parents[1]
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
GROUPS = {1: 400, 8: 100, 32: 40}  # calls in a group, and how many groups a turn
CUSTOMERS = 32

MIGRATE = """
import asyncio, sys, asyncpg
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    await migrate(connection)
    await ensure_partitions(connection)
asyncio.run(main())
"""


class Checkout:
    """A database with the schema of one checkout, and a process that calls it with that checkout's code."""

    def __init__(self, folder: Path, dsn: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        subprocess.run([sys.executable, "-c", MIGRATE, dsn], check=True, env=environment, cwd=folder)
        self.folder = folder
        self.environment = environment
        self.dsn = dsn

    async def prepare(self) -> None:
        """Make customers whose calls no limit stops, and start the process."""
        connection = await asyncpg.connect(self.dsn)
        await prepare_connection(connection)
        for _ in range(CUSTOMERS):
            owner = await customer(connection, cap_nusd=10**15)
            await virtual_key(connection, owner, rpm_limit=10**7, monthly_cap_nusd=10**15)
        await connection.close()
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "bench" / "admission_side.py"), self.dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=self.folder,
        )

    def turn(self, groups: int, calls: int) -> dict[str, float]:
        """The figures of so many groups."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{groups} {calls}\n")
        self.process.stdin.flush()
        figures: dict[str, float] = json.loads(self.process.stdout.readline())
        return figures


def cell(values: Sequence[float]) -> str:
    """The median and the range."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def rows(calls: int, runs: list[list[dict[str, float]]]) -> None:
    """Print the table's rows of one size of group; each run has the figures of A and B, or of B alone."""
    for name in runs[0][0]:
        sides = [[run[at][name] for run in runs] for at in range(len(runs[0]))]
        ratios = [later / earlier for earlier, later in zip(sides[0], sides[-1], strict=True) if earlier]
        shown = f" {statistics.median(ratios):.3f} |" if len(sides) == 2 and ratios else " |" * (len(sides) - 1)
        print(f"| {calls} | {name} | {' | '.join(map(cell, sides))} |{shown}")


async def main(others: list[Path]) -> None:
    home = Path(tempfile.mkdtemp(prefix="kaixu-bench-", dir=os.environ.get("BENCH_HOME") or memory()))
    home.chmod(0o755)
    embedded = EmbeddedPostgres(home)
    dsn = await asyncio.to_thread(embedded.start)
    checkouts: list[Checkout] = []
    try:
        for at, folder in enumerate([*others, HERE]):
            admin = await asyncpg.connect(dsn)
            await admin.execute(f"create database side_{at}")
            await admin.close()
            one = Checkout(folder, urlunsplit(urlsplit(dsn)._replace(path=f"/side_{at}")))
            await one.prepare()
            checkouts.append(one)
            one.turn(200, 1)  # plans, pages
        print("| calls | figure | A | B | B / A |" if others else "| calls | figure | |")
        print("|---|---|" + "---|" * (3 if others else 1))
        for calls, groups in GROUPS.items():
            runs = []
            for run in range(RUNS):
                order = checkouts if run % 2 else checkouts[::-1]
                figures = {one: one.turn(groups, calls) for one in order}
                runs.append([figures[one] for one in checkouts])
            rows(calls, runs)
    finally:
        for one in checkouts:
            one.process.kill()
        embedded.server.cleanup()


if __name__ == "__main__":
    asyncio.run(main([Path(folder).resolve() for folder in sys.argv[1:2]]))
