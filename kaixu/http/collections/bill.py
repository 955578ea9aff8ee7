"""What replies of these doors tell of the money, also where a call failed after a vendor had worked for it."""

from __future__ import annotations

from typing import Any

from kaixu.config.price import cents_of_nusd, usd
from kaixu.metering.month import month_reply
from kaixu.metering.ticket import Ticket


def usage_reply(ticket: Ticket) -> dict[str, Any]:
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


def money(ticket: Ticket) -> dict[str, Any]:
    """Usage and month."""
    return {"usage": usage_reply(ticket), "month": month_reply(ticket.figures)}
