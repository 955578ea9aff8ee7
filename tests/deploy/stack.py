"""The parts of compose.yaml as processes, with its own files: Postgres, PgBouncer, two gateways, nginx. `make deploy-check`.

Only addresses, ports and folders are replaced, and Postgres is the embedded one's, for the image comes from a registry.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from kaixu.store.embedded import pg_restore_commands
from tests.e2e.test_key_rotation import PLUGIN
from tests.support.cluster import Cluster, user
from tests.support.money import assert_books_balance, customer
from tests.support.process import Client, Process, config_for, free_port
from tests.support.shipped_nginx import Nginx
from tests.support.vendor import Vendor

from .test_files import DEPLOY, GATEWAYS, ROOT, SERVICES

CALLS = 60


class Stack:
    """All parts, as far as they run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deployment = folder / "deployment"
        self.cluster: Cluster | None = None
        self.pooler: subprocess.Popen[bytes] | None = None
        self.gateways: list[Process] = []
        self.nginx: Nginx | None = None

    async def start(self, config: str) -> None:
        """Start the parts in the order of `depends_on`."""
        subprocess.run(["sh", str(DEPLOY / "prepare.sh"), str(self.deployment)], check=True, cwd=ROOT)
        self.cluster = await asyncio.to_thread(Cluster.made, "max_connections=200")
        await asyncio.to_thread(self.cluster.start)
        await asyncio.to_thread(self.initialize)
        port = await self.start_pooler()
        address = self.deployment / "gateway" / "secrets" / "database_url"
        address.write_text(address.read_text().replace("@pgbouncer:6432", f"@127.0.0.1:{port}"))
        for name in GATEWAYS:
            self.gateways.append(self.gateway(name, config))
        migrated = await self.gateways[0].command(*SERVICES["migrate"]["command"])
        assert migrated.returncode == 0, migrated.stderr
        for gateway in self.gateways:
            await gateway.start()
        addresses = [f"127.0.0.1:{gateway.port}" for gateway in self.gateways]
        self.nginx = await Nginx(self.folder / "nginx", *addresses).start()

    def initialize(self) -> None:
        """What Postgres's image does with a new data folder."""
        assert self.cluster is not None
        programs = pg_restore_commands()[0].parent
        subprocess.run(
            ["sh", str(DEPLOY / "postgres" / "10-kaixu.sh")],
            env={
                "PATH": f"{programs}:{os.environ['PATH']}",
                "PGHOST": str(self.cluster.folder),
                "PGPORT": str(self.cluster.port),
                "SECRETS": str(self.deployment / "postgres"),
            },
            check=True,
        )

    async def start_pooler(self) -> int:
        """Start PgBouncer; its port."""
        assert self.cluster is not None
        folder, port = self.cluster.folder, free_port()
        text = (DEPLOY / "pgbouncer" / "pgbouncer.ini").read_text()
        text = text.replace("host=postgres port=5432", f"host=127.0.0.1 port={self.cluster.port}")
        text = text.replace("listen_port = 6432", f"listen_port = {port}").replace("0.0.0.0", "127.0.0.1")
        (folder / "pgbouncer.ini").write_text(text.replace("/etc/kaixu-pgbouncer", str(folder)))
        shutil.copy(self.deployment / "pgbouncer" / "users.txt", folder / "users.txt")
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/sbin")
        assert program, "pgbouncer is missing: apt-get install pgbouncer"
        who = {"user": user(), "extra_groups": []} if os.geteuid() == 0 else {}
        with (folder / "pgbouncer.log").open("wb") as log:
            self.pooler = subprocess.Popen(
                [program, str(folder / "pgbouncer.ini")],
                stdout=log,
                stderr=log,
                **who,  # type: ignore[call-overload]
            )
        async with asyncio.timeout(30):
            while True:
                assert self.pooler.poll() is None, (folder / "pgbouncer.log").read_text()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return port

    def gateway(self, name: str, config: str) -> Process:
        """A gateway with the environment of its service."""
        process = Process(self.folder / name, None, config)
        given = {key: value for key, value in SERVICES[name]["environment"].items() if value is not None}
        given |= {"KAIXU_SECRETS": str(self.deployment / "gateway" / "secrets"), "KAIXU_CONFIG": str(process.config)}
        given |= {"KAIXU_TRUSTED_PROXIES": "127.0.0.1"}
        kept = ("PATH", "HOME", "PYTHONPATH", "KAIXU_HOME", "KAIXU_BIND")
        process.environment = {key: process.environment[key] for key in kept} | given
        (process.home / "mine" / "tables").mkdir(parents=True)
        (process.home / "mine" / "__init__.py").write_text(PLUGIN)
        (process.home / "mine" / "tables" / "0001_note.sql").write_text("create table note (words text not null);")
        return process

    async def stop(self) -> None:
        """Stop all parts."""
        if self.nginx is not None:
            self.nginx.stop()
        for gateway in self.gateways:
            await gateway.stop()
        if self.pooler is not None:
            self.pooler.terminate()
            self.pooler.wait(30)
        if self.cluster is not None:
            await asyncio.to_thread(self.cluster.remove)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    """A vendor's stand-in."""
    vendor = Vendor()
    await vendor.start()
    yield vendor
    await vendor.stop()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: apt-get install systemd"
    unit = tmp_path / "kaixu.service"
    unit.write_text((DEPLOY / "kaixu.service").read_text().replace("/opt/kaixu/bin/kaixu", sys.executable))
    done = subprocess.run([program, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        [program, "security", "--offline=yes", "--threshold=15", str(unit)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout  # 1.5 of 10


async def test_the_parts_of_compose_serve_together(vendor: Vendor, tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        await stack.start(config_for(vendor.url, "ok") + "integrations: {mine: {plugin: ./mine}}\n")
        assert stack.nginx is not None
        assert stack.cluster is not None
        pool = await asyncpg.create_pool(stack.cluster.dsn(database="kaixu"), min_size=1, max_size=1)
        customer_id = await customer(pool)
        created = await stack.gateways[0].command("keys", "create", str(customer_id), "--json")
        assert created.returncode == 0, created.stderr
        key = json.loads(created.stdout)["key"]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            client = Client(http, stack.nginx.url, key)
            answers = await asyncio.gather(*(client.chat() for _ in range(CALLS)))
            assert [status for status, _ in answers] == [200] * CALLS
            # The integration's role was made by the gateway; PgBouncer finds its password in Postgres.
            headers = {"authorization": f"Bearer {key}"}
            async with http.post(f"{stack.nginx.url}/v1/mine/note", json={"words": "x"}, headers=headers) as response:
                assert response.status == 200, await response.text()
        await assert_books_balance(pool)
        logs = [gateway.log.read_text() for gateway in stack.gateways]
        assert all("/api/gateway-chat" in log or "up/ok" in log for log in logs), logs  # nginx uses both
        assert await pool.fetchval("select count(*) from kaixu.usage_event where provider = 'up'") == CALLS
        ran = await stack.gateways[1].command("reconcile", "--json")
        assert ran.returncode == 0, ran.stderr
        # PgBouncer's lookup knows the gateway's roles and no superuser.
        asked = "select p_password from pgbouncer.password_of($1)"
        assert await pool.fetchval(asked, "postgres") is None
        assert str(await pool.fetchval(asked, "kaixu_mine_plugin")).startswith("SCRAM-SHA-256$")
        await pool.close()
    finally:
        await stack.stop()
