"""Parts of all calls' replies: headers for rate limits and dropped fields, bill, routing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kaixu.config.price import usd
from kaixu.edge.errors import WINDOW_S, rate_headers, token_headers
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.metering.model_ticket import ModelTicket
from kaixu.metering.ticket import Ticket

#: The maximum number of names in the header for dropped fields, and the maximum length of each.
MAX_NAMES = 20
MAX_NAME = 100
NOT_IN_HEADERS = re.compile(r"[^A-Za-z0-9_.\[\]-]")


def call_headers(ticket: Ticket) -> dict[str, str]:
    """Headers of an admitted call's reply: rate limit and dropped fields."""
    verdict = ticket.verdict
    headers = rate_headers(verdict.rate_limit, verdict.rate_remaining, WINDOW_S)
    headers |= token_headers(verdict.token_limit, verdict.token_room, WINDOW_S)
    if isinstance(ticket, ChatTicket) and ticket.request.dropped:
        headers["x-kaixu-dropped-fields"] = dropped_header(ticket.request.dropped)
    return headers


def dropped_header(dropped: Sequence[str]) -> str:
    """The names of dropped fields, comma-separated, in characters that headers allow; `...` if there are more."""
    names = [NOT_IN_HEADERS.sub("?", name)[:MAX_NAME] for name in dict.fromkeys(dropped)]
    return ", ".join(names[:MAX_NAMES] + (["..."] if len(names) > MAX_NAMES else []))


def over_defaults(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What a vendor has given, over what a reply must have: null does not take the place of a default."""
    kept = {name: value for name, value in defaults.items() if value is not None and given.get(name) is None}
    return defaults | given | kept


def bill_reply(ticket: ModelTicket) -> dict[str, Any]:
    """The object `kaixu` in replies of OpenAI's and Anthropic's endpoints."""
    settled, deployment = ticket.settlement, ticket.deployment
    assert settled is not None
    bill: dict[str, Any] = {
        "provider": deployment.shown_provider,
        "model": deployment.model,
        "cost_usd": usd(settled.cost_nusd),
        "usage_source": settled.usage_source,
        "end": settled.end_reason,
        **routing_reply(ticket),
    }
    if isinstance(ticket, ChatTicket) and ticket.lowered:
        bill["max_tokens_applied"] = ticket.request.max_tokens
    return bill


def routing_reply(ticket: ModelTicket) -> dict[str, Any]:
    """Which deployment answered, after how many tries, and whether the answer came from the cache."""
    routing: dict[str, Any] = {"deployment": None if ticket.served is None else ticket.served.name}
    routing["tries"] = len(ticket.tried)
    if ticket.deployment.cache is not None:
        routing["cache"] = "hit" if isinstance(ticket, ChatTicket) and ticket.from_cache else "miss"
    return routing
