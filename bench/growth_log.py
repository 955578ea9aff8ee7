"""What the write-ahead log of a stretch is made of, read with `pg_waldump`."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections import Counter
from pathlib import Path

import asyncpg

from kaixu.store.embedded import pg_restore_commands

RECORD = re.compile(
    r"rmgr: (?P<kind>\S+)\s+len \(rec/tot\):\s+(?P<own>\d+)/\s*(?P<all>\d+),.*?(?:blkref #0: rel \d+/\d+/(?P<node>\d+)|$)"
)
RELATIONS = """
    select pg_relation_filenode(oid)::text as node, relname as name
      from pg_class where relkind in ('r', 'i', 'S', 't')
"""
#: Rows of the table; the others are added up.
MOST_ROWS = 14


async def log_by_relation(db: asyncpg.Connection, folder: Path, start: str, end: str) -> Counter[str]:
    """Bytes by table or index between two places of the log; images of whole pages are counted apart."""
    program = pg_restore_commands()[0].with_name("pg_waldump")
    dump = await asyncio.to_thread(
        subprocess.run,
        [str(program), "--path", str(folder / "pg_wal"), "--start", start, "--end", end],
        capture_output=True,
        text=True,
        check=True,
    )
    names: dict[str, str] = {row["node"]: row["name"] for row in await db.fetch(RELATIONS)}
    found: Counter[str] = Counter()
    for line in dump.stdout.splitlines():
        record = RECORD.match(line)
        if record is None:
            continue
        own, whole = int(record["own"]), int(record["all"])
        name: str = names.get(record["node"] or "", record["kind"])
        found[name] += own
        found["images of pages"] += whole - own
    return found


def log_rows(bytes_a_call: dict[str, float]) -> list[list[str]]:
    """The rows of a table, the largest first."""
    ordered = sorted(bytes_a_call.items(), key=lambda item: -item[1])
    total = sum(bytes_a_call.values())
    rows = [[f"`{name}`" if "_" in name else name, f"{size:,.0f}"] for name, size in ordered[:MOST_ROWS]]
    return [
        ["table or index", "bytes a call"],
        *rows,
        ["others", f"{sum(size for _, size in ordered[MOST_ROWS:]):,.0f}"],
        ["all", f"{total:,.0f}"],
    ]
