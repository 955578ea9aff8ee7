"""Call `on_failed` of integrations' jobs that have ended without success, once each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag

from kaixu.catalog.catalog import IntegrationState
from kaixu.catalog.current import CurrentConfig
from kaixu.jobs.payloads import unseal
from kaixu.metering.gate import Gate
from kaixu.metering.integrations import reach_of
from kaixu.metering.operation_call import transactions_for
from kaixu.metering.submitter import Submitter
from kaixu.ops.logs import REQUEST_ID
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import DatabaseAway, KaixuError, TicketClosed, UpstreamError
from kaixu.plugin.operation import Job
from kaixu.store.failures import DueFailure, claim_failures, postpone_failure
from kaixu.store.plugin_transaction import HandledBefore, NotAllowed, Transaction
from kaixu.store.pool import database

log = logging.getLogger(__name__)

#: How many failures are handled at a time, and how long a handler may take.
AT_ONCE = 4
MOST_S = 30.0

#: The longest pause after a handler has failed; the first is a second.
MOST_WAIT_S = 3600.0


class FailedJobCall:
    """See `kaixu.plugin.FailedCall`."""

    def __init__(self, failure: DueFailure, body: Any, options: Any, transaction: Transaction) -> None:
        self.body = body
        self.options = options
        self.customer_id: int | None = failure.customer_id
        self.key_id: int | None = failure.key_id
        self.request_id = failure.request_id
        self.job_id: UUID = failure.id
        self.attempt = failure.attempts
        self.error = failure.error_code or "INTERNAL"
        self.open = True
        self._transaction = transaction

    def is_open(self) -> bool:
        """Whether the handler still runs."""
        return self.open

    @asynccontextmanager
    async def db(self) -> AsyncIterator[Transaction]:
        """The transaction of the call. Raises `TicketClosed` after the handler has returned."""
        if not self.open:
            raise TicketClosed("the call has ended; its database is closed")
        yield self._transaction


class FailureHandlers:
    """The failure handlers of one gateway; several gateways take turns."""

    def __init__(self, pool: asyncpg.Pool, gate: Gate, current: CurrentConfig, sealer: Sealer) -> None:
        self.pool = pool
        self.gate = gate
        self.current = current
        self.sealer = sealer

    async def round(self) -> None:
        """Handle every failure that is due. Raises `DatabaseAway`."""
        jobs = self.current.catalog.jobs
        kinds = [name for name, (_, job) in jobs.items() if job.on_failed is not None]
        while kinds:
            with database():
                due = await claim_failures(self.pool, kinds, lease_s=MOST_S * 2, most=AT_ONCE)
            await asyncio.gather(*(self.handle(failure, *jobs[failure.kind]) for failure in due))
            if len(due) < AT_ONCE:
                return

    async def handle(self, failure: DueFailure, state: IntegrationState, job: Job) -> None:
        """Handle one failure, in one transaction. One that cannot be handled is logged, and due again later."""
        REQUEST_ID.set(failure.request_id)
        try:
            await self.call_handler(failure, state, job)
        except HandledBefore:
            log.info("the failure of job %s was handled by another gateway", failure.id)
        except DatabaseAway as error:
            log.warning("the failure of job %s will be handled later: %s", failure.id, error.message)
        except (KaixuError, NotAllowed, InvalidTag, msgspec.MsgspecError, asyncpg.PostgresError) as error:
            log.warning("on_failed of job %s (%s) has failed: %s", failure.id, failure.kind, type(error).__name__)
            wait_s = min(2.0 ** min(failure.tries - 1, 20), MOST_WAIT_S)
            with database():
                await postpone_failure(self.pool, failure.id, wait_s=wait_s)

    async def call_handler(self, failure: DueFailure, state: IntegrationState, job: Job) -> None:
        """Call `on_failed`, and note that in its transaction. Raises what prevents it."""
        assert job.on_failed is not None
        data = unseal(self.sealer, failure.id, "payload", failure.payload)
        body = msgspec.json.decode(data, type=job.payload)
        submitter = Submitter(
            failure.request_id,
            failure.customer_id,
            failure.key_id,
            failure.install_id,
            app_id=failure.app_id,
            build_id=failure.build_id,
        )
        open_transaction = transactions_for(
            self.gate.databases, reach_of(self.gate, state, set()), state, submitter, job
        )
        async with open_transaction(lambda: True) as transaction:
            call = FailedJobCall(failure, body, state.options, transaction)
            try:
                async with asyncio.timeout(min(job.timeout_s, MOST_S)):
                    await job.on_failed(call)
            except (KaixuError, asyncio.CancelledError):
                raise
            except Exception as error:  # a bug in a plugin must not end the gateway
                log.exception("on_failed of job %s failed", failure.id)
                raise UpstreamError("the handler of a failed job failed", code="INTEGRATION_FAILED") from error
            finally:
                call.open = False
            await transaction.failure_handled(failure.id)
