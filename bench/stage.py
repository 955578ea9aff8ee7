"""What every measurement of calls needs: a database, an upstream, a customer with a key, and gateways on them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import asyncpg
import psutil

from bench.load import nginx
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.process import Process

#: `prctl` with which a process lets others of its user read its memory: Yama allows that to its ancestors only.
PR_SET_PTRACER = 0x59616D61
PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)


def config(upstream: str) -> str:
    """Two lanes with everything that admission checks switched on."""
    return f"""
lanes:
  up:
    plugin: openai
    base_url: {upstream}/v1
    api_key: vendor-key
    models:
      up-chat: {{type: chat, price: {{input: 0.1965, output: 0.786}}, cost: {{input: 0.15, output: 0.6}}}}
      stream-50-20: {{type: chat, price: {{input: 0.1965, output: 0.786}}}}
  plain:
    plugin: openai
    base_url: {upstream}/plain/v1
    api_key: vendor-key
    models:
      plain-chat: {{type: chat, price: {{input: 0.1965, output: 0.786}}, cost: {{input: 0.15, output: 0.6}}}}
"""


#: The models of `config`, for clients that stream and for those that do not: nginx cannot tell their requests apart.
STREAMED = {"MODEL": "up-chat", "STREAM": "1"}
PLAIN = {"MODEL": "plain-chat"}


class Gateway(Process):
    """`kaixu serve` of this environment, in a process of its own that a sampling profiler may read."""

    def launch(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        """See `Process.launch`."""
        command = [str(Path(sys.executable).with_name("kaixu")), "serve", *self.options]
        return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, preexec_fn=allow_reading)

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self.process is not None
        return self.process.pid


def allow_reading() -> None:
    """Let other processes of this user read this one's memory, on Linux with Yama; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)


@dataclass
class Stage:
    """A migrated database, an upstream, and a key that no limit stops."""

    home: Path
    dsn: str
    postgres: int  # its main process
    pool: asyncpg.Pool
    upstream: str
    key: str

    def gateway(self, name: str, text: str = "") -> Gateway:
        """A gateway that is not started yet; `text`: what its kaixu.yaml begins with."""
        return Gateway(self.home / name, self.dsn, text + config(self.upstream))


def need(*tools: str) -> None:
    """Ends the program where a tool is missing."""
    for tool in tools:
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed: apt-get install wrk nginx-light")


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Set everything up in a folder of its own, and remove it all."""
    need("wrk", "nginx")
    home = Path(tempfile.mkdtemp(prefix="kaixu-bench-"))
    home.chmod(0o755)
    (home / "nginx").mkdir()
    embedded = EmbeddedPostgres(home)
    dsn = embedded.start()
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await connection.close()
    pool = await open_pool(dsn)
    customer_id = await customer(pool, cap_nusd=10**15, allowed_providers=["up", "plain"], max_devices_per_key=3)
    _, key = await virtual_key(
        pool, customer_id, rpm_limit=10**7, rpd_limit=10**9, monthly_cap_nusd=10**15, max_devices=3
    )
    upstream_process, upstream = nginx(home / "nginx")
    try:
        yield Stage(home, dsn, postgres_pid(home), pool, upstream, key)
    finally:
        upstream_process.terminate()
        upstream_process.wait(30)
        await pool.close()
        embedded.server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


def postgres_pid(home: Path) -> int:
    """The main process of the database in `home`, from its own file."""
    return int(next(home.rglob("postmaster.pid")).read_text().split("\n", 1)[0])


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process and its children have used, those that have ended included."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children():
        try:
            of_child = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += of_child.user + of_child.system
    return total
