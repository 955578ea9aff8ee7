"""Pushes through a gateway before the stand-in of Netlify: memory with many files, CPU for one gibibyte. `bench/PUSH.md`.

python -m bench.push            20,000 files with 2 GiB, with a kill at the half; then 1 GiB in parts
BENCH_PUSH_FILES=2000 BENCH_PUSH_MIB=200 python -m bench.push
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from random import Random

import aiohttp
import psutil

from tests.integrations.push.stand_in import OPERATOR, Netlify
from tests.integrations.push.station import CONFIG, Station
from tests.support.process import Process

FILES = int(os.environ.get("BENCH_PUSH_FILES", "20000"))
MIB = int(os.environ.get("BENCH_PUSH_MIB", "2048"))
PART = 8 * 2**20
LARGE_PARTS = int(os.environ.get("BENCH_PUSH_PARTS", "128"))
AT_ONCE = 8

#: Profiles all threads by their processor time; the main one from a signal on.
SAMPLER = """
import atexit, collections, cProfile, json, os, signal, threading, time
profiles = []
def start(*event):
    profile = cProfile.Profile(time.thread_time)
    profiles.append(profile)
    profile.enable()
def name_of(code):
    if isinstance(code, str):
        return code
    path = code.co_filename
    return f"{os.path.basename(os.path.dirname(path))}/{os.path.basename(path)}:{code.co_name}"
def write():
    found = collections.Counter()
    for profile in profiles:
        for entry in profile.getstats():
            found[name_of(entry.code)] += entry.inlinetime
    with open(os.environ["BENCH_PROFILE"], "w") as file:
        json.dump(found.most_common(), file)
if "BENCH_PROFILE" in os.environ:
    atexit.register(write)
    threading.setprofile(start)
    signal.signal(signal.SIGUSR2, start)
"""


class Watched:
    """The memory and the processor time of a gateway."""

    def __init__(self, gateway: Process) -> None:
        assert gateway.process is not None
        self.process = psutil.Process(gateway.process.pid)
        self.most = 0

    async def watch(self) -> None:
        """Note the most memory, until cancelled."""
        while True:
            try:
                self.most = max(self.most, self.process.memory_info().rss)
            except psutil.NoSuchProcess:
                return
            await asyncio.sleep(0.1)

    @property
    def cpu_s(self) -> float:
        """Its processor time."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


def content(number: int, size: int) -> bytes:
    """The bytes of a file, always the same."""
    return Random(number).randbytes(min(size, 4096)).ljust(size, b".")


async def many(http: aiohttp.ClientSession, gateway: Process, netlify: Netlify) -> dict[str, object]:
    """Many files; the gateway is killed at the half, and the client goes on."""
    station = await Station(http, gateway, netlify).open()
    size = MIB * 2**20 // FILES
    manifest = {
        f"/{number // 1000}/{number}.bin": hashlib.sha1(content(number, size), usedforsecurity=False).hexdigest()
        for number in range(FILES)
    }
    watched = Watched(gateway)
    idle = watched.process.memory_info().rss
    watching = asyncio.ensure_future(watched.watch())
    begun_at = time.monotonic()
    begun = await station.call("POST", "push-init", {"projectId": "blog", "files": manifest})
    assert begun.status == 200, begun.text[:500]
    init_s = time.monotonic() - begun_at
    push_id, deploy_id = begun.json["pushId"], begun.json["deployId"]
    waiting = asyncio.Queue[int]()
    for number in range(FILES):
        waiting.put_nowait(number)
    half, done, most, cpu_s, reviving = FILES // 2, 0, 0, 0.0, asyncio.Lock()

    async def send() -> None:
        nonlocal done, most, cpu_s, watched, watching
        while not waiting.empty():
            number = waiting.get_nowait()
            while True:
                try:
                    said = await station.upload(push_id, f"/{number // 1000}/{number}.bin", content(number, size))
                except (aiohttp.ClientError, OSError, TimeoutError):
                    async with reviving:
                        pass
                    await asyncio.sleep(0.2)
                    continue
                if said.status == 200:
                    break
                await asyncio.sleep(0.2)
            done += 1
            if done == half:
                async with reviving:
                    most, cpu_s = watched.most, watched.cpu_s
                    gateway.kill()
                    await gateway.start()
                    watching.cancel()
                    watched = Watched(gateway)
                    watching = asyncio.ensure_future(watched.watch())

    await asyncio.gather(*(send() for _ in range(AT_ONCE)))
    sent_s = time.monotonic() - begun_at
    push = await station.push_in(push_id, "ready")
    watching.cancel()
    twice = sum(number - 1 for number in netlify.uploads_of(deploy_id).values())
    bill = await station.bill()
    assert (bill["deploys_ready"], push["state"]) == (1, "ready")
    return {
        "files": FILES, "mib": MIB, "init_s": round(init_s, 1), "seconds": round(sent_s, 1),
        "idle_mb": round(idle / 1e6), "most_mb_before_kill": round(most / 1e6), "most_mb_after": round(watched.most / 1e6),
        "sent_twice": twice, "cpu_s": round(cpu_s + watched.cpu_s, 1), "bytes_billed": bill["bytes_uploaded"],
    }  # fmt: skip


async def large(
    http: aiohttp.ClientSession, gateway: Process, netlify: Netlify, *, is_profiled: bool
) -> dict[str, object]:
    """One file in parts of 8 MiB: the processor time of the gateway for it."""
    station = await Station(http, gateway, netlify).open()
    piece = Random(7).randbytes(PART)
    digest = hashlib.sha1(usedforsecurity=False)
    for _ in range(LARGE_PARTS):
        digest.update(piece)
    whole = digest.hexdigest()
    begun = await station.call("POST", "push-init", {"projectId": "blog", "files": {"/film.bin": whole}})
    push_id = begun.json["pushId"]
    watched = Watched(gateway)
    watching = asyncio.ensure_future(watched.watch())
    before, started = watched.cpu_s, time.monotonic()
    if is_profiled:
        watched.process.send_signal(signal.SIGUSR2)
    query = {"pushId": push_id, "path": "/film.bin", "sha1": whole, "parts": LARGE_PARTS}
    for part in range(LARGE_PARTS):
        said = await station.call("PUT", "push-upload-chunk", piece, key=None, headers=None, **{**query, "part": part})
        assert said.status == 200, said
    body = {"pushId": push_id, "path": "/film.bin", "sha1": whole, "parts": LARGE_PARTS}
    assert (await station.call("POST", "push-upload-complete", body)).status == 202
    async with asyncio.timeout(300):
        while True:
            job = (await station.call("GET", "push-file-status", pushId=push_id, sha1=whole)).json["job"]
            if job["status"] == "done":
                break
            assert job["status"] != "error", job
            await asyncio.sleep(0.3)
    watching.cancel()
    gib = LARGE_PARTS * PART / 2**30
    return {
        "gib": gib, "cpu_s": round(watched.cpu_s - before, 1), "cpu_s_per_gib": round((watched.cpu_s - before) / gib, 1),
        "seconds": round(time.monotonic() - started, 1), "most_mb": round(watched.most / 1e6),
    }  # fmt: skip


async def main() -> None:
    """Run both, and print the figures."""
    with tempfile.TemporaryDirectory(prefix="bench-push-") as folder:
        home = Path(folder)
        (home / "python").mkdir()
        (home / "python" / "sitecustomize.py").write_text(SAMPLER)
        netlify = await Netlify(is_checked=False).start()
        config = CONFIG.format(url=netlify.url, token=OPERATOR, more="").replace(
            "stall_s: 5", "stall_s: 30, blob_bytes_per_customer: 8589934592"
        )
        gateway = Process(home / "gateway", None, config, ADMIN_PASSWORD_HEADER="true", KAIXU_TEST_EXEC="1")
        await gateway.start()
        timeout = aiohttp.ClientTimeout(total=300)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            if FILES:
                print(json.dumps({"many": await many(http, gateway, netlify)}), flush=True)
            await gateway.stop()
            print(json.dumps({"large": await alone(http, home / "plain", config, netlify)}), flush=True)
            profile = home / "profile.json"
            sampled = {"PYTHONPATH": str(home / "python"), "BENCH_PROFILE": str(profile)}
            await alone(http, home / "sampled", config, netlify, **sampled)
            found = json.loads(profile.read_text())
            total = sum(number for _, number in found)
            for name, number in found[:5]:
                print(f"{100 * number / total:5.1f} %  {name}", flush=True)
        await netlify.stop()


async def alone(
    http: aiohttp.ClientSession, home: Path, config: str, netlify: Netlify, **environment: str
) -> dict[str, object]:
    """The large file, through a gateway of its own."""
    gateway = Process(home, None, config, ADMIN_PASSWORD_HEADER="true", **environment)
    await gateway.start()
    try:
        return await large(http, gateway, netlify, is_profiled="BENCH_PROFILE" in environment)
    finally:
        await gateway.stop()


if __name__ == "__main__":
    os.environ["KAIXU_TEST_EXEC"] = "1"
    asyncio.run(main())
