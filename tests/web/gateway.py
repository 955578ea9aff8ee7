"""Gateways that pages are tried on: `kaixu serve` with seeded data, used from plain functions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from tests.conftest import with_database
from tests.support.process import Process

from .blocking import run
from .seed import Seed

CONFIG = Path(__file__).with_name("kaixu.yaml")


def config_of(vendor_url: str) -> str:
    """The kaixu.yaml of these gateways."""
    return CONFIG.read_text(encoding="utf-8").replace("VENDOR_URL", vendor_url)


class Gateway:
    """A running gateway, its database, and what the seed has put there."""

    def __init__(self, process: Process, dsn: str, seed: Seed) -> None:
        self.process = process
        self.dsn = dsn
        self.seed = seed
        self.url = process.url

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """What a statement returns."""

        async def fetch() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(self.dsn)
            try:
                return [dict(row) for row in await connection.fetch(sql, *values)]
            finally:
                await connection.close()

        return run(fetch())

    def value(self, sql: str, *values: Any) -> Any:
        """The first value that a statement returns; None for none."""
        found = self.rows(sql, *values)
        return next(iter(found[0].values())) if found else None

    def request(
        self, method: str, name: str, body: Any = None, /, *, token: str | None = None, **query: str | int
    ) -> httpx.Response:
        """A request to the API, as an owner unless there is a `token` (a key, or a session of one)."""
        with httpx.Client(trust_env=False, timeout=30) as http:
            return http.request(
                method,
                f"{self.url}/api/{name}",
                content=None if body is None else json.dumps(body),
                params=query,
                headers={"authorization": f"Bearer {token or self.seed.admin_token}"},
            )

    def ask(self, method: str, name: str, body: Any = None, /, *, token: str | None = None, **query: str | int) -> Any:
        """The body of a reply, which must be a success."""
        response = self.request(method, name, body, token=token, **query)
        assert response.is_success, f"{response.status_code} for {name}: {response.text}"
        return response.json()

    def command(self, *words: str) -> str:
        """What `kaixu …` prints, in this gateway's environment."""
        done = run(self.process.command(*words))
        assert done.returncode == 0, done.stderr
        return done.stdout


async def execute(dsn: str, *statements: str) -> None:
    """Run statements one after the other, outside of a transaction."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@contextmanager
def copy_of(server_dsn: str, template: str) -> Iterator[str]:
    """A copy of a database that nobody is connected to."""
    name = f"kaixu_{uuid4().hex[:12]}"
    run(execute(server_dsn, f"create database {name} template {template} strategy file_copy"))
    try:
        yield with_database(server_dsn, name)
    finally:
        run(execute(server_dsn, f"drop database {name} with (force)"))


@contextmanager
def running(home: Path, dsn: str, config: str, seed: Seed, **environment: str) -> Iterator[Gateway]:
    """A gateway that runs inside this block."""
    process = Process(home, dsn, config, **environment)
    try:
        run(process.start())
        yield Gateway(process, dsn, seed)
    finally:
        run(process.stop())
