"""The stand-ins for a call and its database, as tests of jobs and webhooks use them."""

from __future__ import annotations

from uuid import uuid4

import msgspec
import pytest

from kaixu.plugin import FailedCall, JobView, NotFound, TicketClosed, WebhookEvent
from kaixu.plugin.testing import FakeCall


class Order(msgspec.Struct):
    number: int = 0


async def test_jobs_are_seen_and_cancelled_as_the_test_says() -> None:
    call, running, ended = FakeCall(), uuid4(), uuid4()
    call.database.views = {running: JobView("running", 0), ended: JobView("succeeded", 1)}
    async with call.db() as db:
        assert (await db.cancel(running)).status == "cancelled"
        assert ((await db.job(running)).status, (await db.cancel(ended)).status) == ("cancelled", "succeeded")
        with pytest.raises(NotFound):
            await db.job(uuid4())
    call.close()
    with pytest.raises(TicketClosed):
        await call.database.job(running)


async def test_an_event_is_received_once() -> None:
    call = FakeCall()
    async with call.db() as db:
        assert [await db.receive("events", WebhookEvent("e1", "paid")) for _ in range(2)] == [True, False]
    assert call.database.received == [("events", WebhookEvent("e1", "paid"))]


async def test_a_call_can_be_given_to_on_failed() -> None:
    async def bury(call: FailedCall[Order]) -> None:
        async with call.db() as db:
            await db.execute("update t set error = $1 where job = $2", call.error, call.job_id)

    call = FakeCall(Order(), error="JOB_LOST", results=["UPDATE 1"])
    await bury(call)
    assert call.database.statements[0][1] == ("JOB_LOST", call.job_id)
