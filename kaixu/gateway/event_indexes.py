"""Builds, once after the start, the indexes of usage events that partitions from before an upgrade lack."""

from __future__ import annotations

import logging

import asyncpg

from kaixu.collections.keeper import Maintenance
from kaixu.plugin.errors import KaixuError
from kaixu.store.partition_indexes import build_index, missing_indexes

log = logging.getLogger(__name__)


async def build_event_indexes(pool: asyncpg.Pool, open_connection: Maintenance) -> None:
    """Build what is missing, in one gateway at a time. What fails is left to the next start."""
    try:
        if not await missing_indexes(pool):
            return
        async with open_connection() as connection:
            # Held by the connection, so that a second gateway does not take a half-built index for a broken one.
            if not await connection.fetchval("select pg_try_advisory_lock(hashtext('kaixu.usage_event indexes'))"):
                return
            for one in await missing_indexes(connection):
                await build_index(connection, one)
                log.info("partition %s has its index %s now", one.partition, one.name)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, KaixuError) as error:
        log.warning("indexes of usage events are not built, the next start tries again: %s", type(error).__name__)
