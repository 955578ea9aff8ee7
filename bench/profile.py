"""Where the time of a plain call goes: a gateway under load, sampled. Writes bench/PROFILE.md.

    make profile                          # Granian, 32 connections
    SERVER=hypercorn CONNECTIONS=1 STREAM=1 make profile

The processor's time per call is measured first, without the profiler. Then py-spy reads the stacks of the running
gateway from outside. What C code does counts for the Python function that calls it.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bench.load import HERE, SECONDS, Load, python, table, wrk
from bench.stage import PLAIN, STREAMED, cpu_s, stage

SERVER = os.environ.get("SERVER", "granian")
CONNECTIONS = int(os.environ.get("CONNECTIONS", "32"))
STREAM = os.environ.get("STREAM", "")
SAMPLES_A_SECOND = 400
TOP = 40

#: The room that runs the event loop: what it calls is not its own work.
STARTER = "kaixu/cli"

#: `name (file)` or `name (file:line)`, as py-spy writes a function.
FRAME = re.compile(r"(?P<name>.+?) \((?P<file>[^()]*?)(:\d+)?\)$")


class Function(NamedTuple):
    """A function, and the part of the program that it belongs to: a room of ours, or a library."""

    name: str
    file: str
    part: str
    is_ours: bool


def parse_function(text: str) -> Function:
    """A frame of py-spy's "raw" format. What has no file is the interpreter's."""
    found = FRAME.match(text)
    if found is None:
        return Function(text, "", "interpreter", False)
    name, file = found["name"], found["file"].replace("\\", "/")
    if "/site-packages/" in file:
        below = file.split("/site-packages/", 1)[1]
        return Function(name, below, below.split("/", 1)[0].removesuffix(".py"), False)
    if ours := re.search(r"(?:^|/)((kaixu|plugins)/([^/]+)/.+)$", file):
        return Function(name, ours[1], f"{ours[2]}/{ours[3]}", True)
    if ours := re.search(r"(?:^|/)((kaixu)/[^/]+)$", file):
        return Function(name, ours[1], ours[2], True)
    if library := re.search(r"/lib/python3\.\d+/(.+)$", file):
        return Function(name, library[1], library[1].split("/", 1)[0].removesuffix(".py"), False)
    return Function(name, file, file.split("/", 1)[0] or "interpreter", False)


class Shares(NamedTuple):
    """How many samples were taken in each part. `called`: also those in libraries that our room had called."""

    samples: int
    own: Counter[str]
    called: Counter[str]
    libraries: Counter[str]
    functions: Counter[Function]


def shares_of(raw: str) -> Shares:
    """Count py-spy's "raw" output: lines `outer;…;inner COUNT`."""
    samples = 0
    own: Counter[str] = Counter()
    called: Counter[str] = Counter()
    libraries: Counter[str] = Counter()
    functions: Counter[Function] = Counter()
    for line in raw.splitlines():
        stack, _, number = line.rpartition(" ")
        if not stack or not number.isdigit():
            continue
        count = int(number)
        frames = [parse_function(text) for text in stack.split(";")]
        samples += count
        functions[frames[-1]] += count
        (own if frames[-1].is_ours else libraries)[frames[-1].part] += count
        nearest = next((frame for frame in reversed(frames) if frame.is_ours and frame.part != STARTER), None)
        called[nearest.part if nearest is not None else "outside of ours: server, event loop"] += count
    return Shares(samples, own, called, libraries, functions)


def percent(count: int, shares: Shares) -> str:
    """A share of all samples."""
    return f"{count / max(1, shares.samples):.1%}"


def report(shares: Shares) -> str:
    """The tables, as Markdown."""
    rooms = [["room", "itself", "with the libraries it calls"]]
    for room, count in shares.called.most_common():
        rooms.append([room, percent(shares.own[room], shares), percent(count, shares)])
    libraries = [["library", "share"]]
    for library, count in shares.libraries.most_common(20):
        libraries.append([library, percent(count, shares)])
    functions = [["function", "file", "share"]]
    for function, count in shares.functions.most_common(TOP):
        functions.append([f"`{function.name}`", function.file, percent(count, shares)])
    ours = sum(shares.own.values())
    return f"""## By room

Our own code takes {percent(ours, shares)} of the time, libraries the rest.

{table(rooms)}

## By library

{table(libraries)}

## The {TOP} functions that take the most, without what they call

{table(functions)}
"""


def sample(pid: int, seconds: int, file: Path) -> str:
    """Stacks of a running process, in py-spy's "raw" format."""
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid), "--duration", str(seconds)]
    options = ["--rate", str(SAMPLES_A_SECOND), "--format", "raw", "--full-filenames", "--function", "--nonblocking"]
    ran = subprocess.run([*command, *options, "--output", str(file)], capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"py-spy cannot read the gateway's process:\n{ran.stderr}")
    return file.read_text()


async def main() -> None:
    """Measure and write."""
    script = {"script": "openai.lua"} | (STREAMED if STREAM else PLAIN)

    async def load(url: str, key: str, seconds: int) -> Load:
        return await asyncio.to_thread(wrk, url, CONNECTIONS, key, seconds, **script)

    async with stage() as here:
        gateway = here.gateway(SERVER, f"gateway: {{server: {SERVER}}}\n")
        try:
            await gateway.start()
            url = f"{gateway.url}/v1/chat/completions"
            await load(url, here.key, 3)  # warm
            before = cpu_s(gateway.pid), cpu_s(here.postgres)
            began = time.perf_counter()
            plain = await load(url, here.key, SECONDS)
            calls = plain.rate * SECONDS
            seconds = time.perf_counter() - began
            used = cpu_s(gateway.pid) - before[0], cpu_s(here.postgres) - before[1]
            loading = asyncio.ensure_future(load(url, here.key, SECONDS + 2))
            raw = await asyncio.to_thread(sample, gateway.pid, SECONDS, here.home / "stacks.txt")
            await loading
        finally:
            await gateway.stop()
    figures = [
        ["measure", "figure"],
        ["calls a second", f"{plain.rate:,.0f}"],
        ["p50, p99", f"{plain.p50_ms:.2f} ms, {plain.p99_ms:.1f} ms"],
        ["failed", str(plain.failed)],
        ["processor time of the gateway a call", f"{used[0] / calls * 1e6:.0f} µs"],
        ["processor time of Postgres a call", f"{used[1] / calls * 1e6:.0f} µs"],
        ["of one core: gateway, Postgres", f"{used[0] / seconds:.0%}, {used[1] / seconds:.0%}"],
    ]
    shares = shares_of(raw)
    kind = "streamed" if STREAM else "plain"
    text = f"""# Profile of a {kind} call

Written by `make profile` on {time.strftime("%Y-%m-%d")}: {os.cpu_count()} cores, {python()}, {SERVER}, {CONNECTIONS} connections,
`/v1/chat/completions`, everything on; load generator, upstream and Postgres on the same machine. {shares.samples:,} samples.

{table(figures)}

{report(shares)}"""
    (HERE / "PROFILE.md").write_text(text)
    sys.stdout.write(table(figures) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
