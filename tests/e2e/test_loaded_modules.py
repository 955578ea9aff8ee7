"""A gateway that serves calls has not imported what only commands, pages and the other server need.

Each of these modules costs every process memory; bench/MEMORY.md says how much.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import aiohttp
import asyncpg
import pytest

from tests.support.money import customer, virtual_key
from tests.support.process import Client, Process, config_for
from tests.support.vendor import Vendor

from .conftest import MODELS

#: What is imported where it is used: by commands, single pages, integrations, or where a setting asks for it.
NOT_NEEDED = {
    "aiohttp",
    "authlib",
    "cryptography.x509",
    "dulwich",
    "fpdf",
    "joserfc",
    "jwt",
    "markdown_it",
    "obstore",
    "PIL",
    "pygments",
    "rich",
    "segno",
    "stdnum",
    "stripe",
}

OF_SERVER = {"granian": {"granian"}, "hypercorn": {"kaixu.gateway.http1.connection"}}


#: `kaixu` in a fresh interpreter that lists the modules it has loaded when it ends.
PROGRAM = """
import atexit, os, sys
from pathlib import Path
from kaixu.cli import main

atexit.register(lambda: Path(os.environ["MODULES"]).write_text("\\n".join(sys.modules)))
main()
"""


class ListedModules(Process):
    """A gateway that lists its modules."""

    def launch(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        """See `Process.launch`."""
        environment = {**self.environment, "MODULES": str(self.home / "modules")}
        return subprocess.Popen([sys.executable, "-c", PROGRAM, "serve"], env=environment, stdout=log, stderr=log)

    def loaded(self) -> set[str]:
        """The names of all modules, after it has ended."""
        return set((self.home / "modules").read_text().split("\n"))


@pytest.mark.parametrize("server", OF_SERVER)
async def test_what_calls_do_not_need_is_not_loaded(
    tmp_path: Path, dsn: str, pool: asyncpg.Pool, vendor: Vendor, http: aiohttp.ClientSession, server: str
) -> None:
    config = config_for(vendor.url, *MODELS, gateway=f"server: {server}")
    process = ListedModules(tmp_path / "gateway", dsn, config)
    await process.start()
    try:
        _, key = await virtual_key(pool, await customer(pool))
        client = Client(http, process.url, key)
        assert (await client.chat())[0] == 200
        assert (await client.stream())[0] == 200
    finally:
        assert await process.stop() == 0
    loaded = process.loaded()
    assert {"kaixu.gateway.process", "httpx", *OF_SERVER[server]} <= loaded
    of_others = set().union(*(modules for name, modules in OF_SERVER.items() if name != server))
    assert not loaded & (NOT_NEEDED | of_others)
