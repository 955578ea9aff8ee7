"""What one answer of a vendor is billed, without a database: its events, taken note of and settled as in a call."""

from __future__ import annotations

from datetime import date
from typing import Any, cast
from uuid import uuid4

import httpx

from kaixu.catalog.catalog import Deployment
from kaixu.config.price import Price
from kaixu.config.sections import TimeoutSection
from kaixu.metering.ceiling import ceiling_of
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.metering.wire import TicketWire, WireLimits
from kaixu.plugin import ChatRequest, Lane, Message, TextPart, Usage
from kaixu.plugin.testing import Answer, FakeWire, check_lane
from kaixu.store.admission import Ask, Settlement, Verdict

#: USD per million tokens: input 1, output 10, cached 0.10, written 1.25; in nano-dollars.
PRICE = Price(10**9, 10 * 10**9, 10**8, 1_250_000_000, 10 * 10**9)
HELLO = ChatRequest("m", (Message("user", (TextPart("hello " * 20),)),), max_tokens=100_000)


def nusd(usage: Usage) -> int:
    """What usage costs, kind by kind; a token is a thousand times its price in USD per million."""
    plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return (
        1000 * plain + 100 * usage.cached_input_tokens + 1250 * usage.cache_write_tokens + 10_000 * usage.output_tokens
    )


def ticket_for(lane: Lane, request: ChatRequest) -> ChatTicket:
    """A call that has been admitted, for the most that it can cost."""
    deployment = Deployment(
        "up", "m", "chat", "m", lane, cast(Any, None), PRICE, None, 100_000, 1024, None, None, False, "cancel",
        TimeoutSection(), 0,
    )  # fmt: skip
    ceiling = ceiling_of(request, deployment)
    ticket, month = uuid4(), date(2026, 11, 1)
    ask = Ask(
        ticket, None, None, 1, None, None, 0, "chat", "up", "up", "m", "ai", 1, ceiling.most_nusd, ceiling.least_nusd, "r"
    )  # fmt: skip
    verdict = Verdict(
        ticket, None, None, None, ceiling.most_nusd, 1, 1, 1, "last", month, 60, 59, 10**12, 0, 0, None, 0, 0
    )  # fmt: skip
    limits = WireLimits(connect_s=1, first_byte_s=1, between_bytes_s=1, total_s=1, retries=0)
    wire = TicketWire(cast(httpx.AsyncBaseTransport, None), limits)
    return ChatTicket(
        ask,
        verdict,
        wire,
        ceiling,
        deployment=deployment,
        choices=(deployment,),
        request=request,
    )


async def settled(lane: Lane, answer: Answer, request: ChatRequest = HELLO) -> Settlement:
    """The bill of a call whose vendor answers so."""
    ticket = ticket_for(lane, request)
    for event in await check_lane(lane, request, FakeWire(answer)):
        ticket.count_event(event)
    return ticket.bill("budget_cut" if ticket.over_budget else "complete")
