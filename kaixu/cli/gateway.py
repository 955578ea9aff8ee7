"""One gateway process: opened from settings, reloaded, closed in the order that loses nothing."""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import date
from uuid import uuid4

import asyncpg
from quart import Quart

from kaixu.catalog.build import build
from kaixu.catalog.catalog import Catalog
from kaixu.config.document import Document, load
from kaixu.config.environment import Secrets, Settings
from kaixu.http.app import create_app
from kaixu.http.core import Core
from kaixu.metering.alerts import Alerts, alert_key
from kaixu.metering.books import Books
from kaixu.metering.gate import Gate
from kaixu.metering.observers import Observers
from kaixu.metering.recovery import Recovery
from kaixu.metering.ticket import Ticket
from kaixu.metering.wire import open_transport
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.ops.tasks import Tasks, every
from kaixu.store.alerts import claim_alert
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.events import prune_events, write_events
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
from kaixu.store.pool import open_pool
from kaixu.store.prices import price_version
from kaixu.store.spool import Spool

log = logging.getLogger(__name__)
HOUR_S = 3600.0


class Gateway:
    """Everything that `kaixu serve` runs."""

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self.settings = settings
        self.secrets = secrets
        self.tasks = Tasks()
        self.embedded: EmbeddedPostgres | None = None
        self.reloading = asyncio.Lock()
        self.pool: asyncpg.Pool
        self.core: Core
        self.app: Quart

    async def open(self) -> None:
        """Database, schema, plugins, prices, gate, application; in this order. Raises what keeps it from serving."""
        settings = self.settings
        document = load(settings.kaixu_config, os.environ)
        catalog = build(document, settings.kaixu_config.resolve().parent)
        if settings.database_url is None:
            self.embedded = EmbeddedPostgres(settings.kaixu_home)
            dsn = await asyncio.to_thread(self.embedded.start)
        else:
            dsn = settings.database_url.get_secret_value()
        # A migration takes as long as it takes; calls do not.
        preparing = await open_pool(dsn, most=1, pooler=settings.kaixu_pooler, statement_s=None)
        async with preparing.acquire() as connection:
            await migrate(connection)
            await ensure_partitions(connection)
        await preparing.close()
        self.pool = await open_pool(dsn, pooler=settings.kaixu_pooler)

        owner = uuid4()
        monitor = Monitor(lambda events: write_events(self.pool, events))
        transport = open_transport()
        books = Books(
            self.pool,
            Spool(settings.kaixu_home / "spool", str(owner)),
            owner=owner,
            lifetime_s=document.gateway.reservation_s,
            default_rpm=settings.default_rpm_limit,
            running=lambda: gate.holds(),
            calls=lambda: len(gate.in_flight) + gate.entering,
        )
        webhook = settings.alert_webhook_url
        alerts = Alerts(
            self.claim,
            monitor,
            self.tasks,
            transport,
            warn_pct=settings.cap_warn_pct,
            webhook=None if webhook is None else webhook.get_secret_value(),
            signing_key=alert_key(self.secrets.jwt_secret),
        )
        observers = Observers(
            alerts,
            listening=lambda: bool(self.core.catalog.observers),
            observe=lambda event: self.core.catalog.observe(event),
        )
        monitor.heard_by = observers.noted
        gate = Gate(books, transport, observers, max_in_flight=document.gateway.max_in_flight)
        gate.price_ids = await self.price_ids(catalog)
        self.core = Core(settings, self.secrets, self.pool, gate, monitor, catalog, document.gateway)
        await books.replay()
        await catalog.start()
        self.app = create_app(self.core)
        self.recovery = Recovery(
            gate,
            monitor,
            charge_lost=document.gateway.on_lost == "charge",
            revive=self.revive if self.embedded else None,
        )
        self.tasks.spawn(monitor.run(), "monitor")
        self.tasks.spawn(observers.run(), "observers")
        self.tasks.spawn(self.recovery.run(), "recovery")
        self.tasks.spawn(every(HOUR_S, self.upkeep, "upkeep"), "upkeep")

    async def claim(self, customer_id: int, chain_id: int, month: date, alert: str) -> bool:
        """Whether an alert is ours to tell."""
        return await claim_alert(self.pool, customer_id=customer_id, chain_id=chain_id, month=month, alert=alert)

    async def revive(self) -> None:
        """Start the embedded Postgres again if it has died."""
        assert self.embedded is not None
        await asyncio.to_thread(self.embedded.revive)

    async def upkeep(self) -> None:
        """Make the coming months' partitions; forget old monitor events."""
        async with self.pool.acquire() as connection:
            await ensure_partitions(connection)
        await prune_events(self.pool, days=self.settings.monitor_retention_days)

    async def price_ids(self, catalog: Catalog) -> dict[tuple[str, str], int]:
        """The version of every price that is in force; prices are known before anything is spent."""
        return {
            (one.provider, one.model): await price_version(
                self.pool, provider=one.provider, model=one.model, price=one.price, cost=one.cost
            )
            for one in catalog.deployments
            if one.price is not None
        }

    async def reload(self) -> None:
        """Swap in a changed kaixu.yaml. Raises what is wrong with it, and then the old one stays.

        Calls in flight keep their lanes; those are closed when the last has settled.
        """
        async with self.reloading:
            document: Document = load(self.settings.kaixu_config, os.environ)
            catalog = build(document, self.settings.kaixu_config.resolve().parent, strict=True)
            prices = await self.price_ids(catalog)
            await catalog.start()
            old, running = self.core.catalog, set(self.core.gate.in_flight)
            self.core.gate.price_ids |= prices  # a call on its way may still want an old model
            self.core.gate.max_in_flight = document.gateway.max_in_flight
            self.core.catalog = catalog
            self.core.gateway = document.gateway
            self.recovery.charge_lost = document.gateway.on_lost == "charge"
            self.core.monitor.record(MonitorEvent(kind="reload"))
            log.warning("kaixu.yaml was reloaded: %d lanes", len(catalog.lanes))
            self.tasks.spawn(self.retire(old, running), "retire lanes")

    async def retire(self, catalog: Catalog, running: set[Ticket]) -> None:
        """Close the lanes of an old catalog once its calls are over."""
        await asyncio.sleep(1)  # a request that has resolved its model may be on its way to the gate
        while not running.isdisjoint(self.core.gate.in_flight):  # noqa: ASYNC110 - nothing is in a hurry here
            await asyncio.sleep(0.5)
        await catalog.aclose()

    async def close(self) -> None:
        """After the last call: background tasks, lanes, wires, monitor, pool; the database last."""
        await self.core.gate.stop()
        await self.tasks.stop()
        await self.core.catalog.aclose()
        await self.core.gate.transport.aclose()
        await self.core.monitor.flush()
        try:
            await asyncio.wait_for(self.pool.close(), 10)
        except (TimeoutError, asyncpg.InterfaceError, OSError):
            self.pool.terminate()
