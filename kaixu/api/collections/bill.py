"""Usage and month in replies, and in errors of calls that are billed although they failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.errors import BilledError
from kaixu.edge.month_reply import month_reply
from kaixu.metering.admission import Admission
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import KaixuError


def collection_usage_reply(ticket: Ticket) -> dict[str, Any]:
    """Usage and cost: rounded cents for display, exact dollars."""
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
def bill_on_failure(admission: Admission[Ticket]) -> Iterator[None]:
    """Around a call: add the bill to its error if the failed call is billed. Raises `BilledError`."""
    try:
        yield
    except KaixuError as error:
        ticket = admission.ticket
        bill = None if ticket is None else ticket.settlement
        if ticket is None or bill is None or not bill.input_tokens or "unbilled_nusd" in (bill.units or {}):
            raise
        raise BilledError(error, usage_and_month_reply(ticket)) from error


def usage_and_month_reply(ticket: Ticket) -> dict[str, Any]:
    """The fields `usage` and `month` of a reply."""
    return {"usage": collection_usage_reply(ticket), "month": month_reply(ticket.figures)}
