"""The services that handlers use: everything that was opened at start, in one value."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from kaixu.catalog.catalog import Catalog
from kaixu.collections.searches import Searches
from kaixu.config.environment import Secrets, Settings
from kaixu.config.gateway_section import GatewaySection
from kaixu.jobs.batches import Batches
from kaixu.jobs.queue import Queue
from kaixu.metering.gate import Gate
from kaixu.ops.events import Monitor


@dataclass
class Services:
    """The gateway's parts. A reload replaces `catalog` and `gateway` as a whole; calls in flight keep the old ones.

    `pool` is for general work, `reports` for operators' lists and figures, `searches` for collections.
    """

    settings: Settings
    secrets: Secrets
    pool: asyncpg.Pool
    gate: Gate
    monitor: Monitor
    catalog: Catalog
    gateway: GatewaySection
    queue: Queue
    batches: Batches
    reports: asyncpg.Pool
    searches: Searches
