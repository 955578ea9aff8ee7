"""A customer that pushes: what it calls, and what it waits for."""

from __future__ import annotations

import asyncio
import io
import json
import stat
import zipfile
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, NamedTuple

import aiohttp
import asyncpg

from tests.support.money import customer, virtual_key
from tests.support.operators import admin_headers
from tests.support.process import Process

from .stand_in import Account, GitHubServer

NUMBERS = count(1)


class Answer(NamedTuple):
    """A reply."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Pusher:
    """A customer with an owner's key, and its account and repository at GitHub."""

    def __init__(self, server: GitHubServer, gateway: Process, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.gateway = gateway
        self.pool = pool
        self.http = http
        self.id = 0
        self.key_id = 0
        self.key = ""
        self.token = ""
        self.login = ""

    @property
    def repo(self) -> str:
        """Its repository, as GitHub names it."""
        return f"{self.login}/site"

    @property
    def account(self) -> Account:
        return self.server.tokens[self.token]

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] = {},
        **query: Any,
    ) -> Answer:
        """A request with the key; a body of bytes is sent as it is."""
        key = self.key if key is None else key
        given = {"authorization": f"Bearer {key}", **headers} if key else dict(headers)
        if not path.startswith("/"):
            path = f"/.netlify/functions/{path}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self.http.request(
            method,
            self.gateway.url + path,
            data=None if data is None else io.BytesIO(data) if data else b"",
            headers={**given, **({"content-length": "0"} if data == b"" else {})},
            params={name: str(value) for name, value in query.items()},
            allow_redirects=False,
        ) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, json.loads(text) if is_json else text, answer.headers)

    async def operator(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        """A request of an operator about this customer."""
        if method == "GET":
            query = {"customer_id": self.id, **query}
        else:
            body = {"customer_id": self.id, **(body or {})}
        return await self.call(method, path, body, key="", headers=admin_headers(), **query)

    async def set(self, **settings: Any) -> None:
        """Change settings, as an operator does."""
        body = {"integration": "github", "settings": settings}
        answer = await self.operator("PATCH", "/api/admin-integration-settings", body)
        assert answer.status == 200, answer

    async def key_of(self, role: str) -> str:
        """Another key of the customer."""
        return (await virtual_key(self.pool, self.id, role=role))[1]

    async def init(self, **fields: Any) -> str:
        """Begin a push to its repository; the job's id."""
        answer = await self.call("POST", "gh-push-init", {"owner": self.login, "repo": "site", **fields})
        assert answer.status == 200, answer
        return str(answer.body["jobId"])

    async def upload(self, job: str, data: bytes, *, parts: int = 1) -> None:
        """Send a ZIP in parts."""
        size = -(-len(data) // parts)
        for part in range(parts):
            piece = data[part * size : (part + 1) * size]
            answer = await self.call("PUT", "gh-push-upload-chunk", piece, jobId=job, part=part, parts=parts)
            assert (answer.status, answer.body["bytes"]) == (200, len(piece)), answer

    async def complete(self, job: str) -> Answer:
        return await self.call("POST", "gh-push-upload-complete", {"jobId": job})

    async def status(self, job: str) -> dict[str, Any]:
        """The job as clients see it."""
        answer = await self.call("GET", "gh-push-status", jobId=job)
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.body["job"]
        return found

    async def ended(self, job: str) -> dict[str, Any]:
        """The job, once it is done or has failed."""
        async with asyncio.timeout(60):
            while (found := await self.status(job))["status"] not in ("done", "error"):
                await asyncio.sleep(0.05)
        return found

    async def begun(self, files: Mapping[str, Any] | bytes, *, parts: int = 1, **fields: Any) -> str:
        """A push that waits for its worker."""
        job = await self.init(**fields)
        await self.upload(job, files if isinstance(files, bytes) else zipped(files), parts=parts)
        answer = await self.complete(job)
        assert (answer.status, answer.body) == (202, {"ok": True, "queued": True, "jobId": job}), answer
        return job

    async def push(self, files: Mapping[str, Any] | bytes, *, parts: int = 1, **fields: Any) -> dict[str, Any]:
        """Push a ZIP, and wait for its end."""
        return await self.ended(await self.begun(files, parts=parts, **fields))

    async def billed(self) -> list[tuple[str, int]]:
        """What the customer's pushes have cost, by charge, in nano-dollars."""
        rows = await self.pool.fetch(
            "select model, cost_nusd from kaixu.usage_event where customer_id = $1 and book = 'github' and cost_nusd > 0"
            " order by model",
            self.id,
        )
        return [(row["model"], row["cost_nusd"]) for row in rows]

    async def held(self) -> int:
        """What is held of its money."""
        found: int | None = await self.pool.fetchval(
            "select sum(held_nusd)::bigint from kaixu.customer_month where customer_id = $1", self.id
        )
        return found or 0

    async def blobs(self) -> int:
        """How many files of it are kept."""
        found: int = await self.pool.fetchval("select count(*) from kaixu.blob where customer_id = $1", self.id)
        return found


async def new_pusher(
    server: GitHubServer, gateway: Process, pool: asyncpg.Pool, http: aiohttp.ClientSession, *, connected: bool = True
) -> Pusher:
    """A customer of its own."""
    made, number = Pusher(server, gateway, pool, http), next(NUMBERS)
    made.id = await customer(pool)
    made.key_id, made.key = await virtual_key(pool, made.id, role="owner")
    made.login, made.token = f"ada{number}", f"ghp_{number:036d}"
    server.tokens[made.token] = Account(made.login, 1000 + number)
    server.create(made.repo)
    server.private[made.repo] = {made.login}
    if connected:
        answer = await made.call("POST", "github-token", {"token": made.token})
        assert answer.status == 200, answer
    return made


def zipped(files: Mapping[str, Any], *, system: int = 3, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP: contents, or `(mode, content)`, by name."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, value in files.items():
            mode, content = value if isinstance(value, tuple) else (0o644, value)
            entry = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
            entry.create_system, entry.compress_type = system, method
            entry.external_attr = (mode if stat.S_IFMT(mode) else stat.S_IFREG | mode) << 16
            archive.writestr(entry, content if isinstance(content, bytes) else content.encode())
    return target.getvalue()


def link(target: str) -> tuple[int, str]:
    """A symbolic link in a ZIP."""
    return stat.S_IFLNK | 0o777, target


def names(count: int) -> Iterable[str]:
    """Names of files in folders."""
    return (f"folder{at % 40}/file{at}.txt" for at in range(count))
