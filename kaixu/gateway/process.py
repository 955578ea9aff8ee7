"""The gateway process: opens, reloads and closes everything, in the order that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from functools import partial
from time import monotonic_ns
from uuid import UUID, uuid4

import asyncpg

from kaixu.accounts.monitor_archive import MonitorArchive
from kaixu.api.collections.embed import default_limits
from kaixu.catalog.build import build
from kaixu.catalog.catalog import Catalog
from kaixu.catalog.current import CurrentConfig
from kaixu.collections.ingest import CollectionLimits
from kaixu.collections.keeper import CollectionKeeper
from kaixu.collections.reembedder import Reembedder
from kaixu.collections.searches import Searches
from kaixu.config.database import DatabaseSection
from kaixu.config.database_errors import MigrationError
from kaixu.config.environment import Secrets, Settings
from kaixu.config.gateway_section import GatewaySection, JobsSection
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.edge.failure_events import FailureEvents
from kaixu.edge.services import Services
from kaixu.invoices.closing import finalize_in_background
from kaixu.jobs.alert_webhooks import AlertWebhooks
from kaixu.jobs.batches import Batches
from kaixu.jobs.integrations import IntegrationRunner
from kaixu.jobs.job_webhooks import JobWebhooks
from kaixu.jobs.lease import Runner
from kaixu.jobs.models import ModelRunner
from kaixu.jobs.queue import Queue
from kaixu.jobs.schedules import Scheduler
from kaixu.jobs.webhook_sender import WebhookSender
from kaixu.jobs.webhook_signing import alert_key
from kaixu.jobs.worker import Worker
from kaixu.metering.alerts import Alerts
from kaixu.metering.cache import ResponseCache
from kaixu.metering.gate import Gate
from kaixu.metering.in_flight import InFlightCalls
from kaixu.metering.ledger import Ledger
from kaixu.metering.metrics import Metrics
from kaixu.metering.notices import Notices
from kaixu.metering.observers import Observers
from kaixu.metering.price_keys import PriceKey, model_key, rates_key
from kaixu.metering.recent_calls import RecentCalls
from kaixu.metering.recovery import Recovery
from kaixu.metering.rollups import UsageRollups
from kaixu.metering.wire import open_transport
from kaixu.ops.access_log import AccessLog
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.ops.logs import LogWriter
from kaixu.ops.request_end import RequestListener
from kaixu.ops.sealing import Sealer
from kaixu.ops.tasks import Tasks, every
from kaixu.plugin.errors import KaixuError, PluginError
from kaixu.plugin.hookspecs import Event
from kaixu.reports.monitor_tail import MonitorTail
from kaixu.store.batches import expire_batches, prune_batches
from kaixu.store.blobs import Blobs, open_blobs
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.events import prune_batch_ids, write_events
from kaixu.store.job_rows import prune_jobs
from kaixu.store.migrate import migrate
from kaixu.store.monitor_partitions import ensure_event_partitions, move_earlier_events
from kaixu.store.partitions import ensure_partitions
from kaixu.store.plugin_databases import PluginDatabases
from kaixu.store.plugin_roles import restrict_public
from kaixu.store.pool import maintenance, open_pool
from kaixu.store.pools import Pools, open_pools
from kaixu.store.prices import price_version, rates_version
from kaixu.store.query import DatabaseSession
from kaixu.store.responses import prune_responses
from kaixu.store.spool import Spool
from kaixu.store.webhook_deliveries import prune_deliveries

from .app import Application, create_app
from .claim import Claim, ReloadOutcome
from .event_indexes import build_event_indexes
from .gauges import Gauges
from .heartbeat import Heartbeat, until_next_minute_s
from .reload import reload
from .servers import require_server

log = logging.getLogger(__name__)
HOUR_S = 3600.0

#: Seconds between checks for collections that need work.
COLLECTIONS_S = 2.0

#: How long closing waits for alerts of the last calls.
ALERTS_S = 5.0

#: Seconds between rounds that move noted usage into the roll-ups.
ROLLUPS_S = 10.0

#: Seconds between checks for schedules and webhooks that are due.
DUE_S = 0.5


class Gateway:
    """Everything that `kaixu serve` and `kaixu work` run."""

    settings: Settings
    secrets: Secrets
    owner: UUID  # this process, in the rows that it leases
    current: CurrentConfig
    started_with: GatewaySection
    blobs: Blobs
    databases: PluginDatabases
    pools: Pools
    pool: asyncpg.Pool  # the general one
    ledger: Ledger | None
    observers: Observers
    worker: Worker
    services: Services
    recovery: Recovery
    app: Application

    def __init__(self, settings: Settings, secrets: Secrets, *, log_writer: LogWriter | None = None) -> None:
        self.settings = settings
        self.secrets = secrets
        self.log_writer = log_writer
        self.owner = uuid4()
        self.sealer = Sealer(secrets.db_encryption_key)
        self.tasks = Tasks()
        self.alert_tasks = Tasks()
        self.monitor = Monitor(self.write_events)
        self.metrics = Metrics(lambda: self.current.catalog)
        self.embedded: EmbeddedPostgres | None = None
        self.ledger = None
        self.reloading = asyncio.Lock()
        self.retired: list[Catalog] = []  # replaced by a reload; calls that began before it still use them
        self.folder: Claim | None = None  # the data folder's lock, set by the command
        self.stop_at: float | None = None  # by the loop's clock: the end of the running calls' grace period

    async def open(self) -> None:
        """Open everything, step by step. Raises whatever prevents the start."""
        document = load(self.settings.kaixu_config, os.environ)
        require_server(document.gateway.server)
        catalog = build(document, self.settings.kaixu_config.resolve().parent)
        self.current = CurrentConfig(catalog, document.gateway, document.invoices)
        self.started_with = document.gateway
        self.blobs = open_blobs(document.gateway.blobs, self.settings.kaixu_home)
        dsn = await self.open_database()
        await self.prepare_schema(dsn, catalog)
        await self.open_pools(dsn, document.gateway.database)
        ledger, gate = await self.build_gate()
        self.build_services(gate, document.gateway.database, dsn)
        await ledger.replay()
        await self.start_lanes(catalog)
        self.app = create_app(self.services, self.request_listeners())
        self.metrics.serves(path for route in self.app.exchange.routes.all for path in route.paths)
        gauges = Gauges(self.services, self.pools, self.worker)
        self.metrics.registry.register(gauges)
        self.metrics.refresh = gauges.refresh
        self.start_background(dsn)

    async def open_database(self) -> str:
        """The database's DSN; the embedded Postgres is started if none is configured."""
        if self.settings.database_url is not None:
            return self.settings.database_url.get_secret_value()
        self.embedded = EmbeddedPostgres(self.settings.kaixu_home)
        return await asyncio.to_thread(self.embedded.start)

    async def prepare_schema(self, dsn: str, catalog: Catalog) -> None:
        """Migrate the database, for the core and for integrations. Raises `MigrationError`, `DatabaseAway`."""
        self.databases = PluginDatabases(dsn, self.secrets.db_encryption_key, pooler=self.settings.kaixu_pooler)
        # Without a time limit: a migration may take long.
        preparing = await open_pool(dsn, most=1, pooler=self.settings.kaixu_pooler, statement_s=None)
        async with preparing.acquire() as connection:
            await migrate(connection)
            await ensure_partitions(connection)
            await ensure_event_partitions(connection)
            await self.migrate_integrations(catalog, connection)
            if self.embedded is not None:
                await restrict_public(connection)
        await preparing.close()

    async def open_pools(self, dsn: str, sizes: DatabaseSection) -> None:
        """Connect to the database. Raises `DatabaseAway`, `DatabaseRefused`."""
        self.pools = await open_pools(dsn, sizes, pooler=self.settings.kaixu_pooler, lost=self.note_lost_connection)
        self.pool = self.pools.general
        self.databases.pool = self.pool

    async def build_gate(self) -> tuple[Ledger, Gate]:
        """Create the ledger and the gate, with the observers of settlements."""
        section, settings = self.current.section, self.settings
        calls = InFlightCalls(most=section.max_in_flight, most_per_key=section.max_in_flight_per_key)
        self.ledger = ledger = Ledger(
            self.pools.money,
            Spool(settings.kaixu_home / "spool", str(self.owner)),
            owner=self.owner,
            lifetime_s=section.reservation_s,
            default_rpm=settings.default_rpm_limit,
            calls=calls,
            general=self.pool,
            sent=self.metrics.group_sent,
        )
        alerts = Alerts(
            self.pool,
            self.monitor,
            self.alert_tasks,
            warn_pct=settings.cap_warn_pct,
            to_webhook=settings.alert_webhook_url is not None,
        )
        self.observers = Observers(
            alerts,
            notices=Notices(self.monitor),
            metrics=self.metrics,
            listening=self.has_observers,
            observe=self.observe,
        )
        self.monitor.observer = self.observers.noted
        gate = Gate(
            ledger,
            calls,
            open_transport(),
            self.observers,
            cache=ResponseCache(self.pool, self.sealer),
            databases=self.databases,
            sealer=self.sealer,
            price_ids=await self.price_ids(self.current.catalog),
            recent=RecentCalls(monitor=self.monitor),
        )
        return ledger, gate

    def build_services(self, gate: Gate, sizes: DatabaseSection, dsn: str) -> None:
        """Create the job worker and the services of the endpoints."""
        models = ModelRunner(gate, self.current, self.sealer)
        integrations = IntegrationRunner(gate, self.current, self.sealer)

        def runners() -> dict[str, Runner]:
            return {"chat": models, "embed": models, **integrations.kinds()}

        self.worker = Worker(
            self.pool, gate, self.sealer, runners, self.current, owner=self.owner, monitor=self.monitor
        )
        self.services = Services(
            settings=self.settings,
            secrets=self.secrets,
            pool=self.pool,
            gate=gate,
            monitor=self.monitor,
            current=self.current,
            queue=Queue(self.pool, gate, self.sealer, self.worker.nudge),
            batches=Batches(self.pool, gate, self.sealer, self.worker.nudge),
            reports=self.pools.reports,
            searches=Searches(
                self.pools.searches,
                self.pool,
                most=sizes.searches_per_customer,
                statement_s=sizes.search_s,
                pooler=self.settings.kaixu_pooler,
            ),
            monitor_archive=MonitorArchive(self.pool, self.blobs, lambda: self.current.section.monitor.archive),
            tail=MonitorTail(self.pool, None if self.settings.kaixu_pooler else lambda: dsn),
            metrics=self.metrics,
        )

    async def start_lanes(self, catalog: Catalog) -> None:
        """Start the lanes of the first catalog. Raises `PluginError`."""
        try:
            await catalog.start()
        except PluginError:
            await catalog.aclose()  # closes the lanes that did start
            raise

    def request_listeners(self) -> tuple[RequestListener, ...]:
        """Who gets the record of each request that has ended."""
        failures = FailureEvents(self.monitor, lambda: self.current.section.slow_ms)
        listeners: tuple[RequestListener, ...] = (failures, self.metrics.request_ended)
        if self.log_writer is not None and self.settings.kaixu_access_log:
            listeners += (AccessLog(self.log_writer, self.settings.kaixu_log),)
        return listeners

    def start_background(self, dsn: str) -> None:
        """Start the background tasks."""
        gate = self.services.gate
        self.recovery = Recovery(
            gate.ledger,
            self.monitor,
            charge_lost=self.current.section.on_lost == "charge",
            revive=self.revive if self.embedded else None,
        )
        long_work = partial(maintenance, dsn, pooler=self.settings.kaixu_pooler)
        keeper = CollectionKeeper(self.pool, long_work)
        reembedder = Reembedder(self.pool, gate, self.current, self.collection_limits, self.monitor)
        scheduler = Scheduler(self.pool, self.current, self.sealer, self.worker.nudge)
        job_webhooks = WebhookSender(JobWebhooks(self.pool, self.sealer, self.secrets.jwt_secret, self.jobs_section))
        spawn = self.tasks.spawn
        spawn(self.monitor.run(), "monitor")
        spawn(self.observers.run(), "observers")
        spawn(self.recovery.run(), "recovery")
        spawn(every(HOUR_S, self.upkeep, "upkeep"), "upkeep")
        spawn(build_event_indexes(self.pool, long_work), "indexes of usage events")
        rollups = UsageRollups(self.pool, lambda: self.current.section.reporting_zone, long_work)
        spawn(every(ROLLUPS_S, rollups.round, "roll-ups of usage"), "roll-ups")
        spawn(every(HOUR_S, self.finalize_invoices, "invoices"), "invoices")
        spawn(every(COLLECTIONS_S, keeper.round, "maintenance of collections"), "collections")
        spawn(every(COLLECTIONS_S, reembedder.round, "re-embedding"), "re-embedding")
        spawn(self.worker.run(), "jobs")
        spawn(every(DUE_S, scheduler.round, "scheduler"), "schedules")
        spawn(every(DUE_S, job_webhooks.round, "delivery of job webhooks"), "job webhooks")
        if (url := self.settings.alert_webhook_url) is not None:
            alerts = AlertWebhooks(self.pool, url=url.get_secret_value(), key=alert_key(self.secrets.jwt_secret))
            spawn(every(DUE_S, WebhookSender(alerts).round, "delivery of alerts"), "alert webhooks")

    def start_heartbeat(self, url: str) -> None:
        """Look at this gateway's health every minute, where clients reach it; by default where it listens: `url`."""
        where = self.settings.gateway_url or url
        heartbeat = Heartbeat(self.pool, self.services.beats, url=where, owner=self.owner)
        self.tasks.spawn(every(until_next_minute_s, heartbeat.round, "heartbeat"), "heartbeat")

    async def write_events(self, events: Sequence[MonitorEvent], batch_id: UUID) -> None:
        """Write monitor events. Raises `DatabaseAway`."""
        await write_events(self.pool, events, batch_id)

    def has_observers(self) -> bool:
        """Whether any plugin of the current catalog observes events."""
        return bool(self.current.catalog.observers)

    def observe(self, event: Event) -> None:
        """Pass an event to the plugins of the current catalog."""
        self.current.catalog.observe(event)

    def jobs_section(self) -> JobsSection:
        """The current `gateway.jobs:` section."""
        return self.current.section.jobs

    def collection_limits(self) -> CollectionLimits:
        """The current limits of collections."""
        return default_limits(self.services)

    def note_lost_connection(self) -> None:
        """Handle a connection that the database closed: after a crash, unsynced reservations may be lost."""
        if self.ledger is not None:
            self.ledger.holds_may_be_lost = True

    async def revive(self) -> None:
        """Restart the embedded Postgres if it has died."""
        assert self.embedded is not None
        await asyncio.to_thread(self.embedded.revive)

    async def migrate_integrations(self, catalog: Catalog, connection: DatabaseSession) -> None:
        """Migrate the tables of integrations; mark an integration as failed if its migration fails."""
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
        """Create the partitions of the coming months; remove old monitor events, cached answers, jobs and webhooks."""
        async with self.pool.acquire() as connection:
            await ensure_partitions(connection)
            await ensure_event_partitions(connection)
            await move_earlier_events(connection)
            await prune_batch_ids(connection)
        await prune_deliveries(self.pool, days=self.settings.monitor_retention_days)
        await prune_responses(self.pool)
        await expire_batches(self.pool)
        await prune_batches(self.pool, days=self.settings.async_job_retention_days)
        await prune_jobs(
            self.pool,
            ended_days=self.settings.async_job_success_retention_days,
            unended_days=self.settings.async_job_retention_days,
        )
        # Last: the store of blobs may not answer.
        await self.services.monitor_archive.remove(days=self.settings.monitor_retention_days)

    async def finalize_invoices(self) -> None:
        """Issue the invoices of closed months, if the operator wants that."""
        await finalize_in_background(self.pool, self.current.invoices)

    async def price_ids(self, catalog: Catalog) -> dict[PriceKey, int]:
        """The version of every price in a catalog, stored before anything is billed."""
        operations = {
            rates_key(state.name, name, rates): await rates_version(
                self.pool, provider=state.name, model=name, rates=rates
            )
            for state in catalog.integrations.values()
            for name, rates in state.rates.items()
        }
        return operations | {
            model_key(deployment, price): await price_version(
                self.pool, provider=deployment.provider, model=deployment.model, price=price, cost=deployment.cost
            )
            for deployment in catalog.deployments
            for price in deployment.prices.values()
        }

    async def reload(self) -> ReloadOutcome:
        """Apply a changed kaixu.yaml, and store the outcome for `kaixu reload`.

        Raises if the file is invalid; the old one then stays in force.
        """
        async with self.reloading:
            began_ns = monotonic_ns()
            outcome = ReloadOutcome(os.getpid(), began_ns, refused="something went wrong; see the gateway's log")
            try:
                outcome = await reload(self, began_ns)
            except (ConfigError, PluginError, KaixuError) as error:
                outcome = ReloadOutcome(os.getpid(), began_ns, refused=str(error))
                raise
            finally:
                if self.folder is not None:
                    self.folder.record_reload(outcome)
            return outcome

    def stop_soon(self) -> None:
        """Stop admitting calls; the grace period of running calls begins."""
        calls = self.services.gate.calls
        calls.stopping = True
        self.stop_at = asyncio.get_running_loop().time() + self.current.section.grace_s
        calls.stop_at = self.stop_at
        self.services.tail.stop()

    async def wait_for_calls(self) -> None:
        """Wait until no call runs, at most until the end of the grace period."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self.stop_at):
                await self.services.gate.calls.idle()

    async def end_calls(self) -> None:
        """Wait for running calls, then end the rest while the server can still answer their clients."""
        await self.wait_for_calls()
        await self.services.gate.stop()

    async def close(self) -> None:
        """Close everything after the last call: background tasks, lanes, vendor connections, monitor, pools.

        Calls that go on without their client have no connection, so this waits for them.
        """
        if self.stop_at is not None:
            await self.wait_for_calls()
        await self.worker.stop()
        self.services.tail.stop()
        await self.services.gate.stop()
        await self.alert_tasks.finish(ALERTS_S)
        await self.tasks.stop()
        for catalog in [self.current.catalog, *self.retired]:
            await catalog.aclose()
        await self.services.gate.transport.aclose()
        await self.monitor.flush()
        await self.close_pools()

    async def close_pools(self) -> None:
        """Disconnect from the database."""
        await self.databases.close()
        await self.pools.close()
