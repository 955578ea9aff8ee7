"""The gateway of one worker: what it has beyond that of a single process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Metric

from kaixu.plugin.errors import Unavailable
from kaixu.reports.database_state import connections

from .figures import Family, merged, snapshot
from .link import Link

if TYPE_CHECKING:
    from kaixu.gateway.process import Gateway

#: Gauges that are read from the database: the same in every process.
SHARED = frozenset({"kaixu_jobs_waiting", "kaixu_mails_waiting", "kaixu_mails_oldest_seconds", "kaixu_mails_failed"})


class Worker:
    """A worker's link to its supervisor, and the socket that it listens on."""

    def __init__(self, link: Link, listening: socket.socket, supervisor: int) -> None:
        self.link = link
        self.supervisor = supervisor  # its process id
        self.listening = listening

    def begin(self, gateway: Gateway, *, stop: Callable[[], None], reload: Callable[[], None]) -> None:
        """Follow the supervisor."""
        self.link.stop, self.link.reload = stop, reload
        self.link.figures = lambda: snapshot(gateway.metrics.registry.collect())
        self.running = asyncio.ensure_future(self.link.run())  # to the very end: figures of the last calls are sent

    async def opened(self, gateway: Gateway) -> None:
        """Connect the opened gateway with the other workers, through the supervisor."""
        sizes = gateway.started_with.database
        integrations = sum(one.schema is not None for one in gateway.current.catalog.declared)
        most = (await connections(gateway.pools.reports)).most
        self.link.told = {
            "processes": gateway.started_with.processes,
            "connections_each": sizes.connections + sizes.integration * integrations,
            "connections_most": most,
        }
        gateway.services.workers = self.link.workers
        gateway.metrics.of_all = self.figures_of_all
        gateway.tasks.spawn(self.link.push(), "figures")

    async def figures_of_all(self, registry: CollectorRegistry) -> CollectorRegistry:
        """The metrics of all workers.

        Raises `Unavailable` if the supervisor does not answer: a scrape that fails leaves a gap, but sums of this
        worker alone would look like counters that begin anew.
        """
        answer = await self.link.ask("figures")
        if answer is None:
            raise Unavailable("the figures of the other workers are not at hand", hint="Try again in a moment.")
        own = snapshot(registry.collect())
        families = list(merged(own, answer["figures"], answer["ended"], SHARED))
        families.append(("kaixu_workers", "Workers by state.", "gauge", states(answer["slots"], answer["workers"])))
        families.append(
            (
                "kaixu_worker_restarts",
                "Workers that ended by themselves and were started again.",
                "counter",
                [("kaixu_worker_restarts_total", {}, answer["restarts"])],
            )
        )
        return Families(families)


def states(slots: int, workers: list[dict[str, Any]]) -> list[tuple[str, dict[str, str], float]]:
    """How many workers serve, and how many do not."""
    ready = sum(one["state"] == "ready" for one in workers)
    return [("kaixu_workers", {"state": name}, count) for name, count in (("ready", ready), ("down", slots - ready))]


class Families(CollectorRegistry):
    """Families as a registry, for the formats of prometheus_client."""

    def __init__(self, families: Iterable[Family]) -> None:
        super().__init__()
        self.families = families

    def collect(self) -> Iterable[Metric]:
        """The families."""
        for name, help_text, kind, samples in self.families:
            metric = Metric(name, help_text, kind)
            for sample, labels, value in samples:
                metric.add_sample(sample, labels, value)
            yield metric
