"""Webhooks of jobs that have ended, as attempts of several gateways see them."""

from __future__ import annotations

from uuid import uuid4

import asyncpg

from kaixu.store import jobs
from kaixu.store.job_webhooks import claim_webhooks, record_delivered, record_failed
from tests.support.money import customer, virtual_key


async def test_a_late_failure_does_not_undo_what_another_gateway_has_delivered(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    job_id = uuid4()
    await jobs.insert_job(
        pool,
        jobs.NewJob(
            id=job_id,
            kind="chat",
            customer_id=customer_id,
            key_id=key_id,
            install_id=None,
            request_id="r",
            payload=b"",
            webhook=b"sealed",
        ),
    )
    [claimed] = await jobs.claim_jobs(pool, owner=uuid4(), kinds=["chat"], lease_s=60, most=1)
    assert await jobs.succeed(pool, claimed, result=b"", output_len=None, ticket=None, month=None)
    [late] = await claim_webhooks(pool, lease_s=60, most=10)
    await pool.execute("update kaixu.job set webhook_after = now()")
    [second] = await claim_webhooks(pool, lease_s=60, most=10)
    assert (late.attempt, second.attempt) == (1, 2)
    await record_failed(pool, late, error="too late to count", retry_in_s=None)  # must not give up the second attempt
    assert await pool.fetchval("select webhook_after is not null from kaixu.job")
    await record_delivered(pool, job_id)
    await record_failed(pool, late, error="too late to count", retry_in_s=0)
    await record_failed(pool, second, error="too late to count", retry_in_s=0)
    assert await pool.fetchval("select webhook_told_at is not null and webhook_after is null from kaixu.job")
