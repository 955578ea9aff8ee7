"""Builds, after the start, the indexes of usage events that partitions from before an upgrade lack."""

from __future__ import annotations

import asyncio
import logging

import asyncpg

from kaixu.collections.keeper import Maintenance
from kaixu.plugin.errors import KaixuError
from kaixu.store.exclusive import exclusively
from kaixu.store.partition_indexes import build_index, missing_indexes
from kaixu.store.pool import AWAY

log = logging.getLogger(__name__)

#: What a step may fail with: a busy table, a full disk, a database that is away.
FAILURES = (*AWAY, asyncpg.PostgresError, KaixuError)

#: The pause before what failed, or what another gateway builds, is looked at again.
RETRY_S = 600.0


async def build_event_indexes(pool: asyncpg.Pool, open_connection: Maintenance, *, retry_s: float = RETRY_S) -> None:
    """Build what is missing, in one gateway at a time, until nothing is. What fails is tried again later."""
    while True:
        try:
            if not await missing_indexes(pool):
                return
            async with exclusively(pool, "kaixu.usage_event indexes") as is_alone:
                # A second gateway would take a half-built index for a broken one.
                if is_alone:
                    async with open_connection() as connection:
                        await build_missing(connection)
            if not await missing_indexes(pool):
                return
        except FAILURES as error:
            log.warning("indexes of usage events are not built, tried again later: %s", type(error).__name__)
        await asyncio.sleep(retry_s)


async def build_missing(connection: asyncpg.Connection) -> None:
    """Build each index that is missing. One that fails does not stop the others."""
    for one in await missing_indexes(connection):
        try:
            await build_index(connection, one)
        except FAILURES as error:
            if connection.is_closed():
                raise
            log.warning("index %s of %s is not built: %s", one.name, one.partition, type(error).__name__)
        else:
            log.info("partition %s has its index %s now", one.partition, one.name)
