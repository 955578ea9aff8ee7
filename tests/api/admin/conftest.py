"""The routes for operators on a real database, without a port."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from quart import Quart

from kaixu.accounts.monitor_archive import MonitorArchive
from kaixu.catalog.catalog import Catalog
from kaixu.catalog.current import CurrentConfig
from kaixu.collections.searches import Searches
from kaixu.config.environment import Secrets, Settings
from kaixu.config.gateway_section import BlobsSection, GatewaySection
from kaixu.edge.services import Services
from kaixu.gateway.app import create_app
from kaixu.jobs.batches import Batches
from kaixu.jobs.queue import Queue
from kaixu.metering.cache import ResponseCache
from kaixu.metering.call_blobs import BlobStore
from kaixu.metering.gate import Gate
from kaixu.metering.in_flight import InFlightCalls
from kaixu.metering.ledger import Ledger
from kaixu.metering.metrics import Metrics
from kaixu.metering.ticket import Ticket
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.ops.sealing import Sealer
from kaixu.reports.monitor_tail import MonitorTail
from kaixu.store.admission import Settlement, Verdict
from kaixu.store.blob_files import BlobFiles
from kaixu.store.blobs import open_blobs
from kaixu.store.events import write_events
from kaixu.store.plugin_databases import PluginDatabases
from kaixu.store.spool import Spool
from tests.support.operators import admin_token
from tests.support.process import SECRETS


class Deaf:
    """An observer of calls that does nothing."""

    def settled(self, ticket: Ticket, settlement: Settlement) -> None:
        """Never called: there are no calls here."""

    def refused(self, verdict: Verdict) -> None:
        """Never called: there are no calls here."""


@pytest.fixture
def services(pool: asyncpg.Pool, dsn: str, tmp_path: Path) -> Services:
    """A gateway's parts, with no lanes."""
    settings = Settings(kaixu_home=tmp_path)
    secrets = Secrets(
        admin_password=SECRETS["ADMIN_PASSWORD"],
        jwt_secret=SECRETS["JWT_SECRET"],
        key_pepper=SECRETS["KEY_PEPPER"],
        db_encryption_key=SECRETS["DB_ENCRYPTION_KEY"],
    )
    calls = InFlightCalls(most=10)
    sealer = Sealer(secrets.db_encryption_key)
    books = Ledger(
        pool,
        Spool(tmp_path / "spool", "test"),
        owner=uuid4(),
        lifetime_s=60,
        default_rpm=120,
        calls=calls,
    )
    gate = Gate(
        books,
        calls,
        httpx.MockTransport(lambda _: httpx.Response(500)),
        Deaf(),
        public_transport=httpx.MockTransport(lambda _: httpx.Response(500)),
        scratch=tmp_path / "scratch",
        cache=ResponseCache(pool, sealer),
        databases=PluginDatabases(dsn, [secrets.db_encryption_key], pooler=False),
        sealer=sealer,
        price_ids={},
        blobs=BlobStore(BlobFiles(open_blobs(BlobsSection(), tmp_path), lambda: pool), lambda: 2**30),
    )
    monitor = Monitor(lambda events, _: write_events(pool, events))
    queue = Queue(pool, gate, sealer, lambda: None)
    batches = Batches(pool, gate, sealer, lambda: None)
    searches = Searches(pool, pool, most=16, statement_s=5)
    current = CurrentConfig(Catalog(), GatewaySection())
    return Services(
        settings, secrets, pool, gate, monitor, current, queue, batches, pool, searches,
        MonitorTail(pool, lambda: dsn),
        Metrics(Catalog),
        MonitorArchive(pool, open_blobs(BlobsSection(), tmp_path), lambda: current.section.monitor.archive),
    )  # fmt: skip


@pytest.fixture
def app(services: Services) -> Quart:
    """The application around it."""
    return create_app(services)


class Operator:
    """A client of the admin routes, with these headers."""

    def __init__(self, app: Quart, **headers: str) -> None:
        self.client = app.test_client()
        self.headers = headers

    async def ask(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> tuple[int, Any]:
        """Send a request: the status and the JSON of the reply."""
        response = await self.client.open(
            f"/api/{path}",
            method=method,
            headers=self.headers,
            **({"data": raw} if raw is not None else {"json": body} if body is not None else {}),
        )
        return response.status_code, await response.get_json(force=True)

    async def get(self, path: str) -> Any:
        """The reply to a GET that succeeds."""
        status, body = await self.ask("GET", path)
        assert status == 200, body
        return body

    async def send(self, method: str, path: str, body: Any = None) -> Any:
        """The reply to a change that succeeds."""
        status, reply = await self.ask(method, path, body)
        assert status == 200, reply
        return reply


@pytest.fixture
def operator(app: Quart, services: Services) -> Operator:
    """An operator who is logged in."""
    return Operator(app, authorization=f"Bearer {admin_token()}")


@pytest.fixture
def stranger(app: Quart) -> Operator:
    """A client without a login."""
    return Operator(app)


@pytest.fixture
def seen(services: Services) -> Sequence[MonitorEvent]:
    """The events in the monitor."""
    return services.monitor._waiting
