"""The services that handlers use: everything that was opened at start, in one value."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from kaixu.catalog.catalog import Catalog
from kaixu.catalog.current import CurrentConfig
from kaixu.collections.searches import Searches
from kaixu.config.environment import Secrets, Settings
from kaixu.config.gateway_section import GatewaySection
from kaixu.jobs.batches import Batches
from kaixu.jobs.queue import Queue
from kaixu.metering.gate import Gate
from kaixu.ops.events import Monitor


@dataclass
class Services:
    """The gateway's parts. A reload replaces what `current` holds; calls in flight keep the old catalog.

    `pool` is for general work, `reports` for operators' lists and figures, `searches` for collections.
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

    @property
    def catalog(self) -> Catalog:
        """The catalog in force."""
        return self.current.catalog

    @property
    def gateway(self) -> GatewaySection:
        """The `gateway:` section in force."""
        return self.current.section
