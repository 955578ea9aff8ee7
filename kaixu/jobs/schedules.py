"""Submit the schedules of integrations when they are due, once for all gateways."""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import uuid4

import asyncpg

from kaixu.catalog.catalog import IntegrationState
from kaixu.catalog.current import CurrentConfig
from kaixu.ops.sealing import Sealer, about_job
from kaixu.plugin.errors import DatabaseAway, KaixuError
from kaixu.plugin.operation import Schedule
from kaixu.store import jobs, schedules
from kaixu.store.jobs import NewJob
from kaixu.store.pool import database

log = logging.getLogger(__name__)


class Scheduler:
    """Submits due schedules. Every gateway runs one. `nudge` wakes the worker of this process."""

    def __init__(self, pool: asyncpg.Pool, current: CurrentConfig, sealer: Sealer, nudge: Callable[[], None]) -> None:
        self.pool = pool
        self.current = current
        self.sealer = sealer
        self.nudge = nudge
        self.registered: set[tuple[str, float]] = set()

    async def round(self) -> None:
        """Submit every schedule that is due. Raises `DatabaseAway`, after it has tried them all."""
        away: DatabaseAway | None = None
        for state, schedule in self.current.catalog.schedules.values():
            try:
                await self.submit_if_due(state, schedule)
            except DatabaseAway as error:
                away = error
            except KaixuError as error:
                log.warning("schedule %s was not checked: %s", schedule.name, error.message)
        if away is not None:
            raise away

    async def submit_if_due(self, state: IntegrationState, schedule: Schedule) -> None:
        """Submit a schedule as a job, if it is due and no other gateway has submitted it. Raises `DatabaseAway`."""
        with database():
            if (schedule.name, schedule.every_s) not in self.registered:
                await schedules.register(self.pool, schedule.name, schedule.every_s)
                self.registered.add((schedule.name, schedule.every_s))
            async with self.pool.acquire() as connection, connection.transaction():
                due_at = await schedules.claim(connection, schedule.name)
                if due_at is None:
                    return
                job_id = uuid4()
                await jobs.insert_job(
                    connection,
                    NewJob(
                        id=job_id,
                        kind=schedule.name,
                        customer_id=None,
                        key_id=None,
                        install_id=None,
                        request_id=str(job_id),
                        payload=self.sealer.seal(b"null", about_job(job_id, "payload")),
                        provider=state.name,
                        model=schedule.name,
                        most_attempts=1,
                        idempotency_key=due_at.isoformat(),
                    ),
                )
        self.nudge()
