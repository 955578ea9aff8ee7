"""One gateway process: opened from settings, reloaded, closed in the order that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from datetime import date
from time import monotonic_ns
from uuid import uuid4

import asyncpg

from kaixu.api.collections.embed import room_of
from kaixu.catalog.build import build
from kaixu.catalog.catalog import Catalog
from kaixu.collections.keeper import CollectionKeeper
from kaixu.collections.reembedder import Reembedder
from kaixu.collections.searches import Searches
from kaixu.config.database_errors import MigrationError
from kaixu.config.environment import Secrets, Settings
from kaixu.config.gateway_section import GatewaySection
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.edge.services import Services
from kaixu.jobs.batches import Batches
from kaixu.jobs.integrations import Clock, IntegrationRunner
from kaixu.jobs.models import ModelRunner
from kaixu.jobs.queue import Queue
from kaixu.jobs.webhook_sender import Webhooks
from kaixu.jobs.worker import Worker
from kaixu.metering.alerts import Alerts, alert_key
from kaixu.metering.cache import ResponseCache
from kaixu.metering.gate import Gate, PriceKey
from kaixu.metering.in_flight import InFlightCalls
from kaixu.metering.ledger import Ledger
from kaixu.metering.notices import Notices
from kaixu.metering.observers import Observers
from kaixu.metering.recovery import Recovery
from kaixu.metering.wire import open_transport
from kaixu.ops.events import Monitor
from kaixu.ops.sealing import Sealer
from kaixu.ops.tasks import Tasks, every
from kaixu.plugin.errors import KaixuError, PluginError
from kaixu.store.alerts import claim_alert
from kaixu.store.batches import expire_batches, prune_batches
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.events import prune_events, write_events
from kaixu.store.job_rows import prune_jobs
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
from kaixu.store.plugin_databases import PluginDatabases
from kaixu.store.plugin_roles import keep_out
from kaixu.store.pool import maintenance, open_pool
from kaixu.store.pools import Pools, open_pools
from kaixu.store.prices import price_version, rates_version
from kaixu.store.query import DatabaseSession
from kaixu.store.responses import prune_responses
from kaixu.store.spool import Spool

from .app import Application, create_app
from .claim import Claim, Reloaded
from .reload import reload
from .servers import insist_on_server

log = logging.getLogger(__name__)
HOUR_S = 3600.0

#: How often it is looked for collections that something is to be done for.
LOOK_S = 2.0

#: How often it is looked whether a schedule is due.
TICK_S = 0.5


class Gateway:
    """Everything that `kaixu serve` runs."""

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self.settings = settings
        self.secrets = secrets
        self.tasks = Tasks()
        self.embedded: EmbeddedPostgres | None = None
        self.reloading = asyncio.Lock()
        self.retired: list[Catalog] = []  # swapped out by a reload; calls that began before it still use them
        self.folder: Claim | None = None  # where commands look for this process, if there is such a place
        self.stop_at: float | None = None  # by the loop's clock: the end of running calls' grace
        self.databases: PluginDatabases
        self.pools: Pools
        self.pool: asyncpg.Pool  # the general one
        self.services: Services
        self.app: Application
        self.started_with: GatewaySection
        self.worker: Worker

    async def open(self) -> None:
        """Database, schema, plugins, prices, gate, application; in this order. Raises what keeps it from serving."""
        settings = self.settings
        document = load(settings.kaixu_config, os.environ)
        insist_on_server(document.gateway.server)
        catalog = build(document, settings.kaixu_config.resolve().parent)
        if settings.database_url is None:
            self.embedded = EmbeddedPostgres(settings.kaixu_home)
            dsn = await asyncio.to_thread(self.embedded.start)
        else:
            dsn = settings.database_url.get_secret_value()
        # A migration takes as long as it takes; calls do not.
        self.databases = PluginDatabases(dsn, self.secrets.db_encryption_key, pooler=settings.kaixu_pooler)
        preparing = await open_pool(dsn, most=1, pooler=settings.kaixu_pooler, statement_s=None)
        async with preparing.acquire() as connection:
            await migrate(connection)
            await ensure_partitions(connection)
            await self.provide_tables(catalog, connection)
            if self.embedded is not None:
                await keep_out(connection)
        await preparing.close()
        sizes = document.gateway.database
        self.pools = await open_pools(dsn, sizes, pooler=settings.kaixu_pooler, lost=self.connection_lost)
        self.pool = self.pools.general
        self.databases.pool = self.pool

        owner = uuid4()
        monitor = Monitor(lambda events: write_events(self.pool, events))
        transport = open_transport()
        calls = InFlightCalls(most=document.gateway.max_in_flight, most_per_key=document.gateway.max_in_flight_per_key)
        ledger = Ledger(
            self.pools.money,
            Spool(settings.kaixu_home / "spool", str(owner)),
            owner=owner,
            lifetime_s=document.gateway.reservation_s,
            default_rpm=settings.default_rpm_limit,
            calls=calls,
            general=self.pool,
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
            notices=Notices(monitor),
            listening=lambda: bool(self.services.catalog.observers),
            observe=lambda event: self.services.catalog.observe(event),
        )
        monitor.heard_by = observers.noted
        sealer = Sealer(self.secrets.db_encryption_key)
        gate = Gate(
            ledger,
            calls,
            transport,
            observers,
            cache=ResponseCache(self.pool, sealer),
            databases=self.databases,
            sealer=sealer,
            price_ids=await self.price_ids(catalog),
        )
        models = ModelRunner(gate, lambda: self.services.catalog, sealer)
        integrations = IntegrationRunner(gate, lambda: self.services.catalog, sealer)
        self.worker = Worker(
            self.pool,
            gate,
            sealer,
            lambda: {"chat": models, "embed": models, **integrations.kinds()},
            owner=owner,
            slots=lambda: self.services.gateway.jobs.workers,
            lease_s=lambda: self.services.gateway.jobs.lease_s,
        )
        queue = Queue(self.pool, gate, sealer, self.worker.nudge)
        batches = Batches(self.pool, gate, sealer, self.worker.nudge)
        searches = Searches(
            self.pools.searches,
            self.pool,
            most=sizes.searches_per_customer,
            statement_s=sizes.search_s,
            pooler=settings.kaixu_pooler,
        )
        self.services = Services(
            settings, self.secrets, self.pool, gate, monitor, catalog, document.gateway, queue, batches,
            self.pools.reports, searches,
        )  # fmt: skip
        await ledger.replay()
        try:
            await catalog.start()
        except PluginError:
            await catalog.aclose()  # those that did start
            raise
        self.started_with = document.gateway
        self.app = create_app(self.services)
        self.recovery = Recovery(
            ledger,
            monitor,
            charge_lost=document.gateway.on_lost == "charge",
            revive=self.revive if self.embedded else None,
        )
        self.tasks.spawn(monitor.run(), "monitor")
        self.tasks.spawn(observers.run(), "observers")
        self.tasks.spawn(self.recovery.run(), "recovery")
        self.tasks.spawn(every(HOUR_S, self.upkeep, "upkeep"), "upkeep")
        keeper = CollectionKeeper(self.pool, lambda: maintenance(dsn, pooler=settings.kaixu_pooler))
        self.tasks.spawn(every(LOOK_S, keeper.round, "keeping collections"), "collections")
        reembedder = Reembedder(self.pool, gate, lambda: self.services.catalog, lambda: room_of(self.services))
        self.tasks.spawn(every(LOOK_S, reembedder.round, "re-embedding"), "re-embedding")
        self.tasks.spawn(self.worker.run(), "jobs")
        clock = Clock(self.pool, lambda: self.services.catalog, sealer, self.worker.nudge)
        self.tasks.spawn(every(TICK_S, clock.round, "the clock"), "schedules")
        webhooks = Webhooks(self.pool, sealer, self.secrets.jwt_secret, lambda: self.services.gateway.jobs)
        self.tasks.spawn(every(TICK_S, webhooks.round, "telling of jobs"), "webhooks")

    def connection_lost(self) -> None:
        """A database that ended a connection may have crashed, and forgotten what was not on its disk yet."""
        if hasattr(self, "services"):
            self.services.gate.ledger.holds_may_be_lost = True

    async def claim(self, customer_id: int, chain_id: int, month: date, alert: str) -> bool:
        """Whether an alert is ours to tell."""
        return await claim_alert(self.pool, customer_id=customer_id, chain_id=chain_id, month=month, alert=alert)

    async def revive(self) -> None:
        """Start the embedded Postgres again if it has died."""
        assert self.embedded is not None
        await asyncio.to_thread(self.embedded.revive)

    async def provide_tables(self, catalog: Catalog, connection: DatabaseSession) -> None:
        """Apply what integrations declare of tables; one whose files do not fit fails, and the others serve."""
        for state in list(catalog.integrations.values()):
            if state.state == "on" and state.schema is not None:
                try:
                    url = state.section.database_url
                    await self.databases.provide(
                        connection, state.name, state.schema, None if url is None else url.get_secret_value()
                    )
                except MigrationError as error:
                    log.error("integration %s is off: %s", state.name, error)
                    catalog.fail(state.name, str(error))

    async def upkeep(self) -> None:
        """Make the coming months' partitions; forget old monitor events, kept answers and jobs."""
        async with self.pool.acquire() as connection:
            await ensure_partitions(connection)
        await prune_events(self.pool, days=self.settings.monitor_retention_days)
        await prune_responses(self.pool)
        await expire_batches(self.pool)
        await prune_batches(self.pool, days=self.settings.async_job_retention_days)
        await prune_jobs(
            self.pool,
            ended_days=self.settings.async_job_success_retention_days,
            unended_days=self.settings.async_job_retention_days,
        )

    async def price_ids(self, catalog: Catalog) -> dict[PriceKey, int]:
        """The version of every price that is in force; prices are known before anything is spent."""
        operations = {
            (state.name, name, ""): await rates_version(self.pool, provider=state.name, model=name, rates=rates)
            for state in catalog.integrations.values()
            for name, rates in state.rates.items()
        }
        return operations | {
            (one.provider, one.model, which): await price_version(
                self.pool, provider=one.provider, model=one.model, price=price, cost=one.cost
            )
            for one in catalog.deployments
            for which, price in one.prices.items()
        }

    async def reload(self) -> Reloaded:
        """Swap in a changed kaixu.yaml, see `reloading`; how that went is left for `kaixu reload`.

        Raises what is wrong with it, and then the old one stays.
        """
        async with self.reloading:
            began_ns = monotonic_ns()
            outcome = Reloaded(os.getpid(), began_ns, refused="something went wrong; see the gateway's log")
            try:
                outcome = await reload(self, began_ns)
            except (ConfigError, PluginError, KaixuError) as error:
                outcome = Reloaded(os.getpid(), began_ns, refused=str(error))
                raise
            finally:
                if self.folder is not None:
                    self.folder.told(outcome)
            return outcome

    def stop_soon(self) -> None:
        """Admit nothing new; from now on running calls have their grace."""
        self.services.gate.calls.stopping = True
        self.stop_at = asyncio.get_running_loop().time() + self.services.gateway.grace_s
        self.services.gate.calls.stop_at = self.stop_at

    async def drained(self) -> None:
        """Return when no call runs any more, or when their grace is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self.stop_at):
                await self.services.gate.calls.idle()

    async def last_words(self) -> None:
        """When the grace of running calls is over: end them while their clients can still be told."""
        await self.drained()
        await self.services.gate.stop()

    async def close(self) -> None:
        """After the last call: background tasks, lanes, wires, monitor, pool; the database last.

        A call that is read to its end without its client hangs on no connection: it is waited for here.
        """
        if self.stop_at is not None:
            await self.drained()
        await self.worker.stop()
        await self.services.gate.stop()
        await self.tasks.stop()
        for catalog in [self.services.catalog, *self.retired]:
            await catalog.aclose()
        await self.services.gate.transport.aclose()
        await self.services.monitor.flush()
        await self.close_pool()

    async def close_pool(self) -> None:
        """Leave the database."""
        await self.databases.close()
        await self.pools.close()
