"""The gateway process: opens, reloads and closes everything, in the order that loses nothing."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from time import monotonic_ns
from uuid import UUID, uuid4

import asyncpg

from kaixu.accounts.customers import create_customer
from kaixu.accounts.monitor_archive import MonitorArchive
from kaixu.accounts.plans import apply_plans
from kaixu.accounts.secret_fingerprints import require_secrets
from kaixu.accounts.shared_fields import take_customer_settings
from kaixu.api.collections.embed import default_limits
from kaixu.catalog.build import build
from kaixu.catalog.catalog import Catalog
from kaixu.catalog.current import CurrentConfig
from kaixu.catalog.reactions import stored_reactions
from kaixu.collections.ingest import CollectionLimits
from kaixu.collections.searches import Searches
from kaixu.config.database import DatabaseSection
from kaixu.config.database_errors import MigrationError
from kaixu.config.document import Document
from kaixu.config.environment import Secrets, Settings
from kaixu.config.gateway_section import GatewaySection, JobsSection
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.config.price import nusd_of_cents
from kaixu.edge.failure_events import FailureEvents
from kaixu.edge.services import Services
from kaixu.jobs.batches import Batches
from kaixu.jobs.integrations import IntegrationRunner
from kaixu.jobs.lease import Runner
from kaixu.jobs.models import ModelRunner
from kaixu.jobs.queue import Queue
from kaixu.jobs.worker import Worker
from kaixu.metering.alerts import Alerts
from kaixu.metering.cache import ResponseCache
from kaixu.metering.call_blobs import BlobStore
from kaixu.metering.connections import open_transport
from kaixu.metering.gate import Gate
from kaixu.metering.in_flight import InFlightCalls
from kaixu.metering.ledger import Ledger
from kaixu.metering.metrics import Metrics
from kaixu.metering.notices import Notices
from kaixu.metering.observers import Observers
from kaixu.metering.plan_prices import PlanPrices
from kaixu.metering.public_transport import open_public_transport
from kaixu.metering.recent_calls import RecentCalls
from kaixu.metering.recovery import Recovery
from kaixu.ops.access_log import AccessLog
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.ops.logs import LogWriter
from kaixu.ops.request_end import RequestListener
from kaixu.ops.sealing import sealer_of
from kaixu.ops.tasks import Tasks, every
from kaixu.plugin.errors import KaixuError, PluginError, Unprocessable
from kaixu.plugin.hookspecs import Event
from kaixu.reports.monitor_tail import MonitorTail
from kaixu.store.blob_files import BlobFiles
from kaixu.store.blobs import Blobs, open_blobs
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.events import write_events
from kaixu.store.migrate import migrate
from kaixu.store.monitor_partitions import ensure_event_partitions
from kaixu.store.partitions import ensure_partitions
from kaixu.store.plugin_credits import set_rollover
from kaixu.store.plugin_databases import PluginDatabases
from kaixu.store.plugin_roles import restrict_public
from kaixu.store.pool import database, open_pool
from kaixu.store.pools import Pools, open_pools
from kaixu.store.query import DatabaseSession
from kaixu.store.reactions import set_reactions
from kaixu.store.spool import Spool

from .alerting import Alerting
from .app import Application, create_app
from .background import start_background
from .books import declare_books
from .claim import Presence, ReloadOutcome
from .gauges import Gauges
from .heartbeat import Heartbeat, until_next_minute_s
from .price_ids import price_ids
from .reload import reload
from .scratch import ScratchFolder
from .servers import require_server

log = logging.getLogger(__name__)

#: The folder of calls' temporary files, below KAIXU_HOME.
SCRATCH = "scratch"


class Gateway:
    """Everything that `kaixu serve` and `kaixu work` run."""

    settings: Settings
    secrets: Secrets
    owner: UUID  # this process, in the rows that it leases
    current: CurrentConfig
    started_with: GatewaySection
    blobs: Blobs
    blob_files: BlobFiles
    databases: PluginDatabases
    pools: Pools
    pool: asyncpg.Pool  # the general one
    ledger: Ledger | None
    observers: Observers
    alerting: Alerting
    worker: Worker
    services: Services
    recovery: Recovery
    scratch: ScratchFolder
    app: Application

    def __init__(self, settings: Settings, secrets: Secrets, *, log_writer: LogWriter | None = None) -> None:
        self.settings = settings
        self.secrets = secrets
        self.log_writer = log_writer
        self.owner = uuid4()
        self.sealer = sealer_of(secrets)
        self.tasks = Tasks()
        self.monitor = Monitor(self.write_events)
        self.metrics = Metrics(lambda: self.current.catalog)
        self.embedded: EmbeddedPostgres | None = None
        self.ledger = None
        self.reloading = asyncio.Lock()
        self.plan_names: frozenset[str] = frozenset()
        self.retired: list[Catalog] = []  # replaced by a reload; calls that began before it still use them
        self.folder: Presence | None = None  # where it is known, set by the command

    async def open(self) -> None:
        """Open everything, step by step. Raises whatever prevents the start."""
        document = load(self.settings.kaixu_config, os.environ)
        require_server(document.gateway.server)
        catalog = build(document, self.settings.kaixu_config.resolve().parent)
        self.current = CurrentConfig(catalog, document.gateway)
        self.current.take(document)
        self.started_with = document.gateway
        self.blobs = open_blobs(document.gateway.blobs, self.settings.kaixu_home)
        self.blob_files = BlobFiles(self.blobs, lambda: self.pool)
        self.scratch = await asyncio.to_thread(ScratchFolder, self.settings.kaixu_home / SCRATCH, str(self.owner))
        dsn = await self.open_database()
        await self.prepare_schema(dsn, catalog)
        await self.open_pools(dsn, document.gateway.database)
        ledger, gate = await self.build_gate()
        self.build_services(gate, document.gateway.database, dsn)
        for name in await self.apply_plans(document):  # told: another gateway's file may differ
            log.info("plan `%s` has a new version", name)
        await ledger.replay()
        await self.start_lanes(catalog)
        await self.apply_money_in(document, catalog)
        self.app = create_app(self.services, self.request_listeners())
        self.metrics.serves(path for route in self.app.exchange.routes.all for path in route.paths)
        gauges = Gauges(self.services, self.pools, self.worker)
        self.metrics.registry.register(gauges)
        self.metrics.refresh = gauges.refresh
        self.recovery = start_background(self, dsn)

    async def open_database(self) -> str:
        """The database's DSN; the embedded Postgres is started if none is configured."""
        if self.settings.database_url is not None:
            return self.settings.database_url.get_secret_value()
        self.embedded = EmbeddedPostgres(self.settings.kaixu_home)
        return await asyncio.to_thread(self.embedded.start)

    async def prepare_schema(self, dsn: str, catalog: Catalog) -> None:
        """Migrate the database, for the core and for integrations.

        Raises `WrongSecrets` before anything is done with other secrets, `MigrationError`, `DatabaseAway`.
        """
        self.databases = PluginDatabases(
            dsn,
            [key for key in (self.secrets.db_encryption_key, self.secrets.db_encryption_key_old) if key],
            pooler=self.settings.kaixu_pooler,
            most=self.started_with.database.integration,
        )
        # Without a time limit: a migration may take long.
        preparing = await open_pool(dsn, most=1, pooler=self.settings.kaixu_pooler, statement_s=None)
        async with preparing.acquire() as connection:
            await migrate(connection)
            await require_secrets(connection, self.secrets)
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
        self.alerting = Alerting(self.pool, self.monitor, settings, self.secrets, self.current)
        self.observers = Observers(
            Alerts(self.monitor, self.alerting.caps),
            notices=Notices(self.monitor),
            metrics=self.metrics,
            listening=self.has_observers,
            observe=self.observe,
        )
        self.monitor.observer = self.observers.noted
        prices = await price_ids(self.pool, self.current.catalog)
        gate = Gate(
            ledger,
            calls,
            open_transport(),
            self.observers,
            public_transport=open_public_transport(),
            scratch=self.scratch.path,
            cache=ResponseCache(self.pool, self.sealer),
            databases=self.databases,
            sealer=self.sealer,
            price_ids=prices,
            blobs=BlobStore(self.blob_files, lambda: self.current.section.blob_bytes_per_customer),
            public_url=self.settings.gateway_url,
            recent=RecentCalls(monitor=self.monitor),
            plan_prices=PlanPrices(self.pools.money, prices),
            record_event=self.monitor.record,
            create_customer=self.create_customer,
            sends_mail=lambda: self.current.mail is not None,
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
        """Migrate the tables of integrations; mark an integration as failed if its migration fails.

        Settings of customers that were columns before move to the integrations that declare them.
        """
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
        await declare_books(catalog, connection)
        moved = await take_customer_settings(connection, catalog.declared)
        if moved:
            log.info("settings of %d customers were moved to the integrations that declare them", moved)

    async def apply_plans(self, document: Document) -> list[str]:
        """Store the plans of kaixu.yaml and give their customers the newest versions; the plans that changed."""
        self.plan_names = frozenset(document.plans)
        changed = await apply_plans(self.pool, document.plans)
        assert self.services.gate.plan_prices is not None
        await self.services.gate.plan_prices.refresh()
        return changed

    async def apply_money_in(self, document: Document, catalog: Catalog) -> None:
        """Store whether credit rolls over, and what the integrations that are on react to. Raises `DatabaseAway`."""
        with database():
            await set_rollover(self.pool, rolls_over=document.gateway.rollover)
            await set_reactions(self.pool, stored_reactions(catalog.declared))

    async def remove_from_integrations(self, customer_id: int) -> None:
        """Remove a deleted customer's rows from the tables of the integrations that are on."""
        for one in self.current.catalog.declared:
            if one.schema is not None:
                await self.databases.remove_rows(one.name, customer_id, one.keeps)

    async def create_customer(self, email: str, plan: str | None, actor: str, request_id: str) -> int:
        """Create a customer for an integration; its id. Raises as `accounts.customers.create_customer`."""
        if plan is not None and plan not in self.plan_names:
            raise Unprocessable(f"there is no plan {plan!r:.80}", field="plan")
        given = {"email": email} if plan is None else {"email": email, "plan_name": plan}
        cap_nusd = nusd_of_cents(self.settings.default_customer_cap_cents)
        made = await create_customer(self.pool, given, default_cap_nusd=cap_nusd, actor=actor, request_id=request_id)
        return made.id

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

    def drain(self) -> None:
        """Tell balancers and clients to go elsewhere, and start no jobs. Calls are still taken."""
        self.services.gate.calls.draining = True
        self.app.exchange.writer.headers.ends_connections = True

    def stop_soon(self) -> None:
        """The grace period of running calls begins.

        A call that comes on a connection from before is still taken, since its client cannot know better.
        """
        self.drain()
        self.services.gate.calls.stop_at = asyncio.get_running_loop().time() + self.current.section.grace_s
        self.services.tail.stop()

    def stop_now(self) -> None:
        """The grace period is over."""
        self.services.gate.calls.stop_at = asyncio.get_running_loop().time()

    async def end_calls(self) -> None:
        """Wait for running calls, then end the rest while the server can still answer their clients."""
        await self.services.gate.calls.idle()
        await self.services.gate.stop()

    async def close(self) -> None:
        """Close everything after the last call: background tasks, lanes, vendor connections, monitor, pools.

        Calls that go on without their client have no connection, so this waits for them.
        """
        calls = self.services.gate.calls
        if calls.stop_at is not None:
            await calls.idle()
        await self.worker.stop()
        self.services.tail.stop()
        await self.services.gate.stop()
        await self.alerting.finish()
        await self.tasks.stop()
        for catalog in [self.current.catalog, *self.retired]:
            await catalog.aclose()
        await self.services.gate.transport.aclose()
        await self.services.gate.public_transport.aclose()
        await self.monitor.flush()
        await self.close_pools()
        self.scratch.close()

    async def close_pools(self) -> None:
        """Disconnect from the database."""
        await self.databases.close()
        await self.pools.close()
