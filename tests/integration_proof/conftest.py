"""A clean environment with the gateway's wheel and `kaixu-parcel`, and gateways that are started from it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

import aiohttp
import asyncpg
import pytest

from kaixu.store.pool import open_pool
from tests.support.kaixu import Started
from tests.support.process import Process, free_port
from tests.vendors.stage import database

from .carrier import Carrier
from .station import Station, settled

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "kaixu_parcel"

#: Its own tests are run in the clean environment.
collect_ignore = ["kaixu_parcel"]
SECRET = "webhook-secret-of-the-carrier"

CONFIG = """
gateway: {{jobs: {{workers: 4, lease_s: 2}}}}
integrations:
  parcel:
    price: {{label: 0.01, booking: 0.02, photo: 0.001, shipment: 3, weight: 0.5, depot: 1}}
    price_versions:
      wholesale: {{shipment: 2, weight: 0.25, depot: 1}}
    grants: [credit, customers]
    carrier: http://127.0.0.1:{port}
    webhook_secret: {secret}
"""


class FromWheel(Process):
    """A gateway whose code is what pip has installed, started as an operator does."""

    python = Path(sys.executable)

    def launch(self, log: BinaryIO) -> Started:
        words = [str(self.python.with_name("kaixu")), "serve"]
        return subprocess.Popen(words, env=self.environment, cwd=self.home, stdout=log, stderr=log)

    async def kaixu(self, *words: str) -> str:
        """What `kaixu …` of that environment prints."""
        done = await self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def refused(self, *words: str) -> str:
        """What a `kaixu …` that fails says."""
        done = await self.run(*words)
        assert done.returncode == 1, done.stdout
        return done.stderr

    async def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`kaixu …` of that environment."""
        command = [str(self.python.with_name("kaixu")), *words]
        return await asyncio.to_thread(
            subprocess.run, command, env=self.environment, cwd=self.home, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the environment; what the gateway depends on is lent from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("proof")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist")]
    for project in (ROOT, PACKAGE):
        subprocess.run([*build, str(project)], check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    Path(site.strip(), "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    wheels = [str(wheel) for wheel in (folder / "dist").glob("*.whl")]
    subprocess.run([*install, *wheels], check=True, capture_output=True)
    return python


@pytest.fixture
async def carrier() -> AsyncIterator[Carrier]:
    carrier = Carrier()
    await carrier.start()
    yield carrier
    await carrier.stop()


def made(python: Path, home: Path, dsn: str, carrier_port: int) -> FromWheel:
    """A gateway from that environment with parcels switched on, not yet started."""
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    config = CONFIG.format(port=carrier_port, secret=SECRET)
    gateway = FromWheel(home, dsn, config, PYTHONPATH="", PATH=path, ADMIN_PASSWORD_HEADER="true")
    gateway.environment["GATEWAY_URL"] = gateway.url
    gateway.python = python
    return gateway


@pytest.fixture
async def station(python: Path, tmp_path: Path, dsn: str, carrier: Carrier) -> AsyncIterator[Station]:
    """A gateway of the test's own, and a customer."""
    gateway = made(python, tmp_path / "gateway", dsn, carrier.port)
    await gateway.start()
    async with aiohttp.ClientSession() as http:
        yield await Station(http, gateway, carrier).open()
    assert await gateway.stop() == 0


@pytest.fixture(scope="session")
def shared_gateway(
    python: Path, server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FromWheel, int]]:
    """A gateway for several tests, and the port on which it expects the carrier."""
    port = free_port()
    with database(server_dsn, pristine) as dsn:
        gateway = made(python, tmp_path_factory.mktemp("shared") / "gateway", dsn, port)
        asyncio.run(gateway.start())
        yield gateway, port
        assert asyncio.run(gateway.stop()) == 0


@pytest.fixture
async def shared(shared_gateway: tuple[FromWheel, int], shared_pool: asyncpg.Pool) -> AsyncIterator[Station]:
    """The gateway that tests share, with a carrier and a customer of the test's own."""
    gateway, port = shared_gateway
    carrier = Carrier()
    await carrier.start(port)
    async with aiohttp.ClientSession() as http:
        yield await Station(http, gateway, carrier).open()
        await settled(shared_pool)  # else the next test's carrier would be asked
    await carrier.stop()


@pytest.fixture
async def shared_pool(shared_gateway: tuple[FromWheel, int]) -> AsyncIterator[asyncpg.Pool]:
    """Connections to its database."""
    pool = await open_pool(shared_gateway[0].environment["DATABASE_URL"])
    yield pool
    await pool.close()
