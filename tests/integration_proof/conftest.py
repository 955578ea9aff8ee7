"""A clean environment with the gateway's wheel and `kaixu-parcel`, and gateways that are started from it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import aiohttp
import pytest

from tests.support.kaixu import Started
from tests.support.process import Process

from .carrier import Carrier
from .station import Station

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "kaixu_parcel"
SECRET = "webhook-secret-of-the-carrier"

CONFIG = """
gateway: {{jobs: {{workers: 4, lease_s: 2}}}}
integrations:
  parcel:
    price: {{label: 0.01, booking: 0.02, photo: 0.001}}
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
        command = [str(self.python.with_name("kaixu")), *words]
        done = await asyncio.to_thread(
            subprocess.run, command, env=self.environment, cwd=self.home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


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


@pytest.fixture
async def station(python: Path, tmp_path: Path, dsn: str, carrier: Carrier) -> AsyncIterator[Station]:
    """A gateway from that environment with parcels switched on, and a customer."""
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    config = CONFIG.format(port=carrier.port, secret=SECRET)
    gateway = FromWheel(tmp_path / "gateway", dsn, config, PYTHONPATH="", PATH=path, ADMIN_PASSWORD_HEADER="true")
    gateway.python = python
    await gateway.start()
    async with aiohttp.ClientSession() as http:
        yield await Station(http, gateway, carrier).open()
    assert await gateway.stop() == 0
