"""Admission of requests about jobs, batches and files: checked like calls, but not billed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kaixu.metering.gate import Caller, Gate
from kaixu.metering.ticket import Ticket


@asynccontextmanager
async def admitted_customer(gate: Gate, caller: Caller, operation: str) -> AsyncIterator[int]:
    """Admit a request that is not billed, and yield the id of the caller's customer. Raises as admission does."""
    async with gate.free(caller, operation) as ticket:
        ticket.end_reason = "released"
        yield customer_id_of(ticket)


def customer_id_of(ticket: Ticket) -> int:
    """The customer of an admitted call. Queries must never get None here: it would match every customer."""
    assert ticket.verdict.customer_id is not None
    return ticket.verdict.customer_id
