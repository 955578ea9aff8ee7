"""What is done every hour: partitions of the coming months are made, what is too old is removed."""

from __future__ import annotations

import asyncpg

from kaixu.accounts.monitor_archive import MonitorArchive
from kaixu.config.environment import Settings
from kaixu.store.batches import expire_batches, prune_batches
from kaixu.store.callbacks import prune_callbacks
from kaixu.store.events import prune_batch_ids
from kaixu.store.integration_messages import prune_messages
from kaixu.store.job_rows import prune_jobs
from kaixu.store.key_requests import prune_key_requests
from kaixu.store.limits import prune_limit_use
from kaixu.store.mail import prune_mails
from kaixu.store.monitor_partitions import ensure_event_partitions, move_earlier_events
from kaixu.store.operator_sessions import prune_sessions
from kaixu.store.partitions import ensure_partitions
from kaixu.store.reactions import forget_crossings
from kaixu.store.remote_checks import prune_checks
from kaixu.store.responses import prune_responses
from kaixu.store.webhook_deliveries import prune_deliveries
from kaixu.store.webhook_events import prune_events

from .alerting import Alerting

#: How long a session of an operator is listed after its end.
SESSION_DAYS = 30

#: How long a copy of a vendor's event is recognized, after the job that handles it was removed.
EVENT_DAYS = 90


class Upkeep:
    """The upkeep of one gateway; several of them do no harm."""

    def __init__(self, pool: asyncpg.Pool, settings: Settings, alerting: Alerting, archive: MonitorArchive) -> None:
        self.pool = pool
        self.settings = settings
        self.alerting = alerting
        self.archive = archive

    async def round(self) -> None:
        """Create the partitions of the coming months; remove old events, cached answers, jobs, mails and so on."""
        pool, settings = self.pool, self.settings
        async with pool.acquire() as connection:
            await ensure_partitions(connection)
            await ensure_event_partitions(connection)
            await move_earlier_events(connection)
            await prune_batch_ids(connection)
            await prune_limit_use(connection)
        await prune_deliveries(pool, days=settings.monitor_retention_days)
        await self.alerting.prune()
        await prune_mails(pool, days=settings.monitor_retention_days)
        await prune_messages(pool)
        await prune_key_requests(pool, days=settings.monitor_retention_days)
        await prune_responses(pool)
        await prune_sessions(pool, SESSION_DAYS)
        await prune_checks(pool)
        await expire_batches(pool)
        await prune_batches(pool, days=settings.async_job_retention_days)
        await prune_jobs(
            pool,
            ended_days=settings.async_job_success_retention_days,
            unended_days=settings.async_job_retention_days,
        )
        await prune_events(pool, days=EVENT_DAYS)
        await forget_crossings(pool, days=settings.async_job_retention_days)
        await prune_callbacks(pool)
        # Last: the store of blobs may not answer.
        await self.archive.remove(days=settings.monitor_retention_days)
