"""The services that handlers use, opened at start."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg

from kaixu.accounts.monitor_archive import MonitorArchive
from kaixu.catalog.catalog import Catalog
from kaixu.catalog.current import CurrentConfig
from kaixu.collections.searches import Searches
from kaixu.config.environment import Secrets, Settings
from kaixu.config.gateway_section import GatewaySection
from kaixu.config.invoices_section import InvoicesSection
from kaixu.jobs.batches import Batches
from kaixu.jobs.queue import Queue
from kaixu.metering.gate import Gate
from kaixu.metering.metrics import Metrics
from kaixu.ops.events import Monitor
from kaixu.ops.heartbeat import Beats
from kaixu.reports.monitor_tail import MonitorTail


@dataclass
class Services:
    """The services of one gateway. A reload replaces `current`'s content; calls in flight keep the old catalog.

    Database connections: `pool` for general use, `reports` for operators' lists, `searches` for collections.
    """

    settings: Settings
    secrets: Secrets
    pool: asyncpg.Pool
    gate: Gate
    monitor: Monitor
    current: CurrentConfig
    queue: Queue
    batches: Batches
    reports: asyncpg.Pool
    searches: Searches
    tail: MonitorTail
    metrics: Metrics
    monitor_archive: MonitorArchive
    beats: Beats = field(default_factory=Beats)

    @property
    def catalog(self) -> Catalog:
        """The catalog in force."""
        return self.current.catalog

    @property
    def gateway(self) -> GatewaySection:
        """The `gateway:` section in force."""
        return self.current.section

    @property
    def invoices(self) -> InvoicesSection:
        """The `invoices:` section in force."""
        return self.current.invoices
