"""`gateway(yaml)`: a real gateway with a Postgres and a clock that a test can move."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import httpx
import msgspec

from .checks import must
from .trial_server import SERVER

SECRETS = {
    "ADMIN_PASSWORD": "operator-password-for-tests",
    "ADMIN_PASSWORD_HEADER": "true",
    "JWT_SECRET": "jwt-secret-for-tests-0123456789",
    "KEY_PEPPER": "key-pepper-for-tests-0123456789",
    "DB_ENCRYPTION_KEY": "encryption-key-for-tests-0123456789",
}

#: How long a gateway may take to answer first, to stop, and to run the jobs that are due.
START_S = 60.0
STOP_S = 30.0
IDLE_S = 60.0

NUMBERS = count(1)

#: What a gateway prints when it has started: its address, then the state of each section.
LISTENS = "kAIxU Gateway listens on"
STATE = re.compile(r"(lane|integration) [^:]+: ")

#: Jobs that will run without anybody doing anything more, and calls that are not settled.
BUSY = """
select (select count(*) from kaixu.reservation)
     + (select count(*) from kaixu.job
         where completed_at is null and (status = 'running' or (pause is null and run_after <= now())))
"""


SCHEDULE = "select last_at from kaixu.schedule where name = $1"


class Customer(msgspec.Struct, frozen=True):
    """A customer of the gateway, and a key of the role `owner`."""

    id: int
    email: str
    key: str


class Output(msgspec.Struct, frozen=True):
    """What a command has printed, and its exit code."""

    code: int
    out: str
    err: str


class TrialGateway:
    """A gateway that runs, with a database of its own. `folder` has its kaixu.yaml and its log."""

    def __init__(self, folder: Path, dsn: str, port: int, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.dsn = dsn
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False)
        self._ahead_s = 0.0
        self._clock = folder / "clock"
        self._clock.write_bytes(struct.pack("<d", 0.0))
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            **SECRETS,
            "DATABASE_URL": dsn,
            "KAIXU_HOME": str(folder / "home"),
            "KAIXU_CONFIG": str(folder / "kaixu.yaml"),
            "KAIXU_BIND": f"127.0.0.1:{port}",
            **environment,
        }
        self._pid: int | None = None

    # What a test does

    async def customer(self, *, role: str = "owner", **fields: Any) -> Customer:
        """A new customer with a key. `fields`: as of `POST admin-customers`, such as `monthly_cap_cents`."""
        email = fields.pop("email", f"customer{next(NUMBERS)}@example.com")
        made = await self.admin("POST", "/api/admin-customers", {"email": email, **fields})
        customer_id = int(made["customer"]["id"])
        return Customer(customer_id, email, await self.key(customer_id, role=role))

    async def key(self, customer_id: int, *, role: str = "owner", **fields: Any) -> str:
        """A new key of a customer. `fields`: as of `POST admin-keys`."""
        made = await self.admin(
            "POST", "/api/admin-keys", {"customer_id": customer_id, "label": "test", "role": role, **fields}
        )
        return str(made["api_key"]["key"])

    async def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        """A request with a key, or without any. A `body` that is not bytes is sent as JSON."""
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        content = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        if content is not None:
            headers.setdefault("content-type", "application/json")
        return await self.http.request(method, path, content=content, headers=headers)

    async def page(self, path: str, *, key: str) -> str:
        """The HTML of a page of the dashboard, as whoever signs in with a key. Raises `AssertionError` for an error."""
        form = urlencode({"key": key}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
        begun = await self.call("POST", "/gateway/dashboard/sign-in", form, **headers)
        cookie = begun.headers.get("set-cookie", "").partition(";")[0]
        must(begun.status_code == 303 and bool(cookie), f"this key cannot sign in: {begun.status_code}")
        reply = await self.call("GET", path, cookie=cookie, accept="text/html")
        must(reply.status_code == 200, f"GET {path} answers {reply.status_code}: {reply.text[:1000]}")
        return reply.text

    async def admin(self, method: str, path: str, body: object = None) -> Any:
        """A request of an operator; the JSON that answers it. Raises `AssertionError` for an error."""
        reply = await self.call(method, path, body, **{"x-admin-password": SECRETS["ADMIN_PASSWORD"]})
        must(reply.is_success, f"{method} {path} answers {reply.status_code}: {reply.text[:1000]}")
        return reply.json() if reply.content else None

    async def settings(self, integration: str, customer_id: int, **values: Any) -> None:
        """Change settings that a customer has of an integration, as an operator."""
        body = {"customer_id": customer_id, "integration": integration, "settings": values}
        await self.admin("PATCH", "/api/admin-integration-settings", body)

    async def schedule(self, name: str) -> None:
        """Run a schedule now, and wait until it has run."""
        connection = await asyncpg.connect(self.dsn)
        try:
            async with asyncio.timeout(IDLE_S):
                # The gateway writes a schedule down in the first second after it has started.
                while not (before := await connection.fetchrow(SCHEDULE, name)):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                await connection.execute("update kaixu.schedule set next_at = now() where name = $1", name)
                while await connection.fetchrow(SCHEDULE, name) == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"there is no schedule {name!r}, or it does not run\n{self.log()}") from None
        finally:
            await connection.close()
        await self.idle()

    async def move(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> None:
        """Move the clock on: that of the database with all of its `now()`, and that of the gateway."""
        self._ahead_s += days * 86400 + hours * 3600 + seconds
        await asyncio.to_thread(SERVER.database, move=self.folder.name, ahead_s=self._ahead_s)
        with self._clock.open("r+b") as file:
            file.write(struct.pack("<d", self._ahead_s))

    async def idle(self) -> None:
        """Wait until no job is due and no call is open. Raises `AssertionError` after a minute."""
        connection = await asyncpg.connect(self.dsn)
        try:
            async with asyncio.timeout(IDLE_S):
                while await connection.fetchval(BUSY):  # noqa: ASYNC110 - it happens in another process
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"jobs are still running\n{self.log()}") from None
        finally:
            await connection.close()

    async def rows(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """The rows of a statement in the gateway's database; the tables of an integration are `kaixu_<name>.…`."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return [dict(row) for row in await connection.fetch(sql, *args)]
        finally:
            await connection.close()

    async def command(self, *words: str) -> Output:
        """`kaixu …`, as an operator of this gateway runs it."""
        out, err = (self.folder / f"{name}{next(NUMBERS)}" for name in ("out", "err"))
        pid = await asyncio.to_thread(SERVER.fork, self._start(words, out, err))
        code = await asyncio.to_thread(SERVER.exits.wait, pid, IDLE_S)
        must(code is not None, f"`kaixu {' '.join(words)}` does not end")
        assert code is not None
        return Output(code, out.read_text(), err.read_text())

    async def reload(self, yaml: str) -> Output:
        """Replace kaixu.yaml, and have the gateway take it."""
        (self.folder / "kaixu.yaml").write_text(yaml)
        return await self.command("reload")

    def log(self) -> str:
        """What the gateway has logged."""
        path = self.folder / "serve.log"
        return path.read_text() if path.exists() else ""

    # Its process

    def _start(self, words: tuple[str, ...], out: Path, err: Path) -> dict[str, Any]:
        return {
            "words": words,
            "environment": self._environment,
            "folder": str(self.folder),
            "out": str(out),
            "err": str(err),
            "clock": str(self._clock),
        }

    async def start(self) -> None:
        """Start the gateway, and wait until it answers. Raises `AssertionError` with its log if it does not."""
        log = self.folder / "serve.log"
        self._pid = await asyncio.to_thread(SERVER.fork, self._start(("serve",), log, log))
        with suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                while SERVER.exits.get(self._pid) is None:
                    with suppress(httpx.TransportError):
                        if (await self.http.get("/api/health")).status_code == 200 and LISTENS in self.log():
                            return
                    await asyncio.sleep(0.02)
        raise AssertionError(f"the gateway does not start:\n{self.log()}")

    def sections_that_failed(self) -> list[str]:
        """The lanes and integrations of kaixu.yaml that are not on, with the reason."""
        states = [line.strip() for line in self.log().partition(LISTENS)[2].split("\n\n")[0].splitlines()]
        return [line for line in states if STATE.match(line) and not line.endswith(": on")]

    async def kill(self) -> None:
        """End the gateway in the middle of whatever it does. `start` starts it again, on the same database."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Stop the gateway as an operator does."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: int) -> None:
        if self._pid is None or SERVER.exits.get(self._pid) is not None:
            return
        os.kill(self._pid, number)
        if await asyncio.to_thread(SERVER.exits.wait, self._pid, STOP_S) is None:
            os.kill(self._pid, signal.SIGKILL)
            raise AssertionError(f"the gateway does not stop:\n{self.log()}")


@asynccontextmanager
async def gateway(yaml: str, *, environment: Mapping[str, str] | None = None) -> AsyncIterator[TrialGateway]:
    """A gateway with this kaixu.yaml, for the block: a process of its own, on a port and a database of its own.

    Raises `AssertionError` with its log if it does not start, or if a lane or an integration is not on.

    Plugins that are installed are found as always; `plugin:` may also be the full path of a file. The first gateway of
    a test run takes two or three seconds, because it starts a Postgres for all of them.

        async with gateway("integrations: {notes: {price: {note: 0.001}}}") as kaixu:
            customer = await kaixu.customer()
            reply = await kaixu.call("POST", "/v1/notes/leave", {"text": "Hello"}, key=customer.key)
    """
    home = await asyncio.to_thread(SERVER.start)
    name = f"trial_{os.getpid()}_{next(NUMBERS)}"
    folder = home / name
    folder.mkdir()
    (folder / "kaixu.yaml").write_text(yaml)
    dsn = await asyncio.to_thread(SERVER.database, make=name)
    trial = TrialGateway(folder, dsn, free_port(), environment or {})
    try:
        await trial.start()
        failed = trial.sections_that_failed()
        must(not failed, f"{'; '.join(failed)}. Is the plugin installed, as with `pip install -e .`?\n{trial.log()}")
        yield trial
        await trial.stop()
    finally:
        with suppress(AssertionError):
            await trial.kill()
        await trial.http.aclose()
        await asyncio.to_thread(SERVER.database, drop=name)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
