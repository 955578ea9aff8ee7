"""The calls in flight: how many there may be, and who counts for which key."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from kaixu.metering.in_flight import InFlightCalls
from kaixu.metering.operation_ticket import OperationTicket
from kaixu.plugin.errors import Overloaded, RateLimited, Stopping
from kaixu.plugin.operation import Free
from tests.metering.test_operation_ticket import ticket_for
from tests.store.test_money_properties import make_ask


async def running(calls: InFlightCalls, key_id: int) -> OperationTicket:
    """A call of a key that was admitted."""
    ticket = ticket_for(Free("a test"), 0, key_id=key_id)
    calls.enter(ticket.ask, None)
    calls.admit(ticket)
    return ticket


async def test_one_key_has_at_most_its_share_and_all_keys_at_most_the_whole() -> None:
    calls = InFlightCalls(most=4, most_per_key=2)
    first, _ = await running(calls, 1), await running(calls, 1)
    with pytest.raises(RateLimited, match="2 calls of this key"):
        calls.require_room(1)
    await running(calls, 2)
    calls.enter(make_ask(3, 1), None)
    assert len(calls) == 4
    with pytest.raises(Overloaded):
        calls.require_room(4)
    calls.end(first)
    calls.end(first)  # once more changes nothing
    assert len(calls) == 3
    calls.require_room(1)


async def test_a_refused_call_leaves_its_place() -> None:
    calls = InFlightCalls(most=4, most_per_key=1)
    refused = make_ask(1, 1)
    calls.enter(refused, None)
    calls.refuse(refused)
    assert len(calls) == 0
    calls.require_room(1)


async def test_holds_are_those_of_calls_that_are_not_being_settled() -> None:
    calls = InFlightCalls(most=4)
    first, second = await running(calls, 1), await running(calls, 2)
    first.settlement = first.bill("complete")
    assert [hold.ticket for hold in calls.holds()] == [second.id]


async def test_cancel_ends_every_call_and_nothing_enters_any_more() -> None:
    calls = InFlightCalls(most=4)
    ended: list[UUID] = []

    async def call(key_id: int) -> None:
        ticket = await running(calls, key_id)
        try:
            await asyncio.sleep(60)
        finally:
            assert ticket.stopped_by_gateway
            calls.end(ticket)
            ended.append(ticket.id)

    tasks = [asyncio.ensure_future(call(key_id)) for key_id in (1, 2)]
    await asyncio.sleep(0)
    await calls.cancel()
    assert [task.cancelled() for task in tasks] == [True, True]
    assert (len(ended), len(calls)) == (2, 0)
    with pytest.raises(Stopping):
        calls.require_room(1)
