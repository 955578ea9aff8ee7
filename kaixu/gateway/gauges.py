"""Gauges of one gateway process, read when Prometheus asks; nothing is kept up to date in between."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterable, Iterator

import asyncpg
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kaixu import __version__
from kaixu.accounts.outbox import OutboxState, outbox_state
from kaixu.edge.services import Services
from kaixu.jobs.worker import Worker
from kaixu.plugin.errors import DatabaseAway
from kaixu.reports.jobs import MAX_COUNTED, count_waiting_jobs
from kaixu.store.pools import Pools

#: The time limit for the database.
PATIENCE_S = 2.0

#: One of them is 1, the others 0.
BREAKER_STATES = ("closed", "open", "half-open")


class Gauges(Collector):
    """What the process has at the moment: calls, holds, queues, connections, breakers."""

    def __init__(self, services: Services, pools: Pools, worker: Worker) -> None:
        self.services = services
        self.pools = pools
        self.worker = worker
        self.waiting_jobs: int | None = None
        self.outbox: OutboxState | None = None

    async def refresh(self) -> None:
        """Read what only the database knows; without it the figure is left out, and the scrape goes on."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                self.waiting_jobs = await count_waiting_jobs(self.services.reports)
                self.outbox = await outbox_state(self.services.reports)
        except (DatabaseAway, TimeoutError):
            self.waiting_jobs = self.outbox = None

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are not checked against others when this is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All gauges."""
        yield self.build_info()
        yield from self.calls()
        yield from self.queues()
        yield from self.mails()
        yield from self.connections()
        yield self.breakers()

    def build_info(self) -> Metric:
        """Always 1."""
        info = gauge("kaixu_build_info", "The version that runs; always 1.", "version", "python", "server")
        info.add_metric([__version__, platform.python_version(), self.services.gateway.server], 1)
        return info

    def calls(self) -> Iterator[Metric]:
        """Calls in flight and what is reserved for them."""
        calls = self.services.gate.calls
        in_flight = gauge("kaixu_calls_in_flight", "Calls that run, or wait for their admission.", "state")
        in_flight.add_metric(["running"], len(calls.running))
        in_flight.add_metric(["entering"], len(calls.entering))
        yield in_flight
        held = sum(ticket.granted_nusd for ticket in calls.running)
        yield value("kaixu_held_nanodollars", "Reserved for the calls that run in this process.", held)
        yield value("kaixu_calls_limit", "The most calls in flight: gateway.max_in_flight.", calls.most)
        yield value("kaixu_stopping", "1 while the gateway drains or shuts down.", int(calls.leaving))
        yield value("kaixu_jobs_running", "Jobs that run in this process.", len(self.worker.running))
        if self.waiting_jobs is not None:
            text = f"Jobs of all customers that wait, also for their time; at most {MAX_COUNTED} are counted."
            yield value("kaixu_jobs_waiting", text, self.waiting_jobs)

    def mails(self) -> Iterator[Metric]:
        """The outbox of mails, of all gateways together."""
        if self.outbox is not None:
            yield value("kaixu_mails_waiting", "Mails of all gateways that wait to be sent.", self.outbox.waiting)
            text = "How long the oldest waiting mail has waited, in seconds; 0: none waits."
            yield value("kaixu_mails_oldest_seconds", text, self.outbox.oldest_s or 0)
            yield value("kaixu_mails_failed", "Mails that were given up, of the last day.", self.outbox.failed)

    def queues(self) -> Iterator[Metric]:
        """What waits in memory or on the disk."""
        services = self.services
        ledger = services.gate.ledger
        queued = gauge("kaixu_ledger_queue", "Calls that wait for the next statement.", "operation")
        for operation, count in ledger.queued.items():
            queued.add_metric([operation], count)
        yield queued
        yield value("kaixu_database_away", "1 while the database does not answer.", int(ledger.away))
        yield value(
            "kaixu_spool_waiting", "1 while settlements wait to be written to the database.", int(ledger.waiting)
        )
        yield value("kaixu_monitor_queue", "Monitor events that wait to be written.", services.monitor.waiting)
        yield CounterMetricFamily(
            "kaixu_monitor_dropped", "Monitor events that were lost since the start.", value=services.monitor.dropped
        )
        yield value("kaixu_monitor_viewers", "Open streams of monitor events.", services.tail.viewers)
        yield CounterMetricFamily(
            "kaixu_monitor_tail_queries", "Queries for all viewers together.", value=services.tail.queries
        )

    def connections(self) -> Iterator[Metric]:
        """The connection pools. All busy for long: raise `gateway.database`."""
        pools = {
            "money": self.pools.money,
            "general": self.pools.general,
            "searches": self.pools.searches,
            "reports": self.pools.reports,
        }
        connections = gauge("kaixu_database_connections", "Connections by pool and state.", "pool", "state")
        limit = gauge("kaixu_database_connections_limit", "The most connections of a pool.", "pool")
        for name, pool in pools.items():
            idle = idle_in(pool)
            connections.add_metric([name, "idle"], idle)
            connections.add_metric([name, "busy"], pool.get_size() - idle)
            limit.add_metric([name], pool.get_max_size())
        yield connections
        yield limit

    def breakers(self) -> Metric:
        """The circuit breaker of each deployment whose lane is on."""
        services = self.services
        states = gauge(
            "kaixu_deployment_breaker",
            "1 for the state in which a deployment is.",
            "provider",
            "model",
            "deployment",
            "state",
        )
        for model in services.catalog.deployments:
            for one in model.choices:
                if one.is_on:
                    state = services.gate.breakers.state_of(one)
                    for name in BREAKER_STATES:
                        states.add_metric([model.provider, model.model, one.name, name], int(name == state))
        return states


def idle_in(pool: asyncpg.Pool) -> int:
    """How many connections of a pool are free."""
    idle: int = pool.get_idle_size()
    return idle


def gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    """A gauge with labels."""
    return GaugeMetricFamily(name, help_text, labels=labels)


def value(name: str, help_text: str, current: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    return GaugeMetricFamily(name, help_text, value=current)
