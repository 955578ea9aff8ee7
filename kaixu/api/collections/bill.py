"""What replies of these doors tell of the money, also where a call failed after a vendor had worked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.errors import Billed
from kaixu.edge.month_reply import month_reply
from kaixu.metering.admission import Admission
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import KaixuError


def collection_usage_reply(ticket: Ticket) -> dict[str, Any]:
    """What the call used and cost: cents for display, dollars exactly."""
    bill = ticket.settlement
    assert bill is not None
    return {
        "input_tokens": bill.input_tokens,
        "total_tokens": bill.input_tokens,
        "cost_cents": cents_of_nusd(bill.cost_nusd),
        "cost_usd": usd(bill.cost_nusd),
        "usage_source": bill.usage_source,
    }


@contextmanager
def telling(call: Admission[Ticket]) -> Iterator[None]:
    """A call that fails in it tells its client what is owed all the same, if anything is. Raises `Billed`."""
    try:
        yield
    except KaixuError as error:
        ticket = call.ticket
        bill = None if ticket is None else ticket.settlement
        if ticket is None or bill is None or not bill.input_tokens or "unbilled_nusd" in (bill.units or {}):
            raise
        raise Billed(error, money(ticket)) from error


def money(ticket: Ticket) -> dict[str, Any]:
    """Usage and month."""
    return {"usage": collection_usage_reply(ticket), "month": month_reply(ticket.figures)}
