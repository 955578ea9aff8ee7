"""Deliver signed job-completion webhooks; private addresses are blocked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from kaixu.config.gateway_section import JobsSection
from kaixu.config.price import usd
from kaixu.jobs.payloads import unseal
from kaixu.ops.sealing import Sealer
from kaixu.ops.trace_context import read_trace
from kaixu.store.job_webhooks import CompletedJob, claim_webhooks, record_delivered, record_failed

from .webhook_guard import AddressGuard
from .webhook_sender import Message
from .webhook_signing import customer_secrets, signed_headers

if TYPE_CHECKING:
    import aiohttp


class JobWebhooks:
    """The outbox of job completions: rows of `kaixu.job`. See `webhook_sender.Outbox`."""

    def __init__(
        self, pool: asyncpg.Pool, sealer: Sealer, secrets: Sequence[str], section: Callable[[], JobsSection]
    ) -> None:
        self.pool = pool
        self.sealer = sealer
        self.secrets = secrets
        self.guard = AddressGuard(section)

    async def claim(self, *, lease_s: float, most: int) -> list[CompletedJob]:
        """Jobs that have ended and whose webhook is due."""
        return await claim_webhooks(self.pool, lease_s=lease_s, most=most)

    def message(self, row: CompletedJob) -> Message:
        """The request to the customer's URL, signed with the customer's secret."""
        body, trace = msgspec.json.encode(completion(row)), read_trace(row.traceparent)
        return Message(
            what=f"job {row.id}",
            url=msgspec.json.decode(unseal(self.sealer, row.id, "webhook", row.webhook), type=str),
            headers=signed_headers(customer_secrets(self.secrets, row.customer_id), row.id, int(time()), body)
            | ({} if trace is None else trace.child_headers()),
            body=body,
        )

    def refusal(self, url: str) -> str | None:
        """See `AddressGuard.refusal`."""
        return self.guard.refusal(url)

    def connector(self, *, limit: int) -> aiohttp.TCPConnector:
        """To public addresses only, unless kaixu.yaml allows private ones."""
        return self.guard.connector(limit=limit)

    async def delivered(self, row: CompletedJob) -> None:
        """See `Outbox.delivered`."""
        await record_delivered(self.pool, row.id)

    async def failed(self, row: CompletedJob, *, error: str, retry_in_s: float | None) -> None:
        """See `Outbox.failed`."""
        await record_failed(self.pool, row, error=error, retry_in_s=retry_in_s)


def completion(job: CompletedJob) -> dict[str, object]:
    """The body of a completion, without texts of the job."""
    return {
        "type": f"job.{job.status}",
        "timestamp": None if job.completed_at is None else job.completed_at.isoformat(),
        "data": {
            "job_id": str(job.id),
            "kind": job.kind,
            "status": job.status,
            "code": job.error_code,
            "created_at": job.created_at.isoformat(),
            "started_at": None if job.started_at is None else job.started_at.isoformat(),
            "completed_at": None if job.completed_at is None else job.completed_at.isoformat(),
            "usage": {
                "input_tokens": job.input_tokens,
                "output_tokens": job.output_tokens,
                "cost_usd": usd(job.cost_nusd),
            },
        },
    }
