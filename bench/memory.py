"""What the memory of a gateway's process is made of, after its start and after many calls; for bench/MEMORY.md.

`python -m bench.memory` (Linux; needs `wrk` and `nginx`). BENCH_MEMORY_CALLS: how many calls, 200,000 by default;
BENCH_SERVER: granian (the default) or hypercorn.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import psutil

from bench.load import wrk
from bench.stage import PLAIN, stage

SERVER = os.environ.get("BENCH_SERVER", "granian")
CALLS = int(os.environ.get("BENCH_MEMORY_CALLS", "200000"))
CONNECTIONS = 64


def parts_of(pid: int) -> Counter[str]:
    """Resident kilobytes by part: shared pages of files, malloc's heap, and other memory of its own."""
    parts: Counter[str] = Counter()
    name, resident = "", 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            name = words[5] if len(words) > 5 else ""
        elif words[0] == "Rss:":
            resident = int(words[1])
        elif words[0] == "Anonymous:":
            own = int(words[1])
            parts["files"] += resident - own
            parts["heap" if name == "[heap]" else "other"] += own
    return parts


def show(label: str, pid: int) -> None:
    """Print one line."""
    process, parts = psutil.Process(pid), parts_of(pid)
    columns = "   ".join(f"{part} {parts[part] / 1024:5.1f}" for part in ("files", "heap", "other"))
    resident = process.memory_info().rss / 2**20
    sys.stdout.write(f"{label:>14}   {resident:6.1f} MB   {columns}   {process.num_threads()} threads\n")
    sys.stdout.flush()


async def main() -> None:
    """Start a gateway, load it, and print its memory at 0, 5, 25, 50 and 100 per cent of the calls."""
    async with stage() as here:
        gateway = here.gateway(SERVER, f"gateway: {{server: {SERVER}}}\n")
        await gateway.start()
        try:
            show("start", gateway.pid)
            calls = 0
            for share in (0.05, 0.25, 0.5, 1):
                while calls < CALLS * share:
                    url = f"{gateway.url}/v1/chat/completions"
                    calls += int(
                        (await asyncio.to_thread(wrk, url, CONNECTIONS, here.key, 5, "openai.lua", **PLAIN)).rate * 5
                    )
                show(f"{calls:,} calls", gateway.pid)
        finally:
            await gateway.stop()


if __name__ == "__main__":
    asyncio.run(main())
