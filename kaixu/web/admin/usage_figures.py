"""The figures of a customer's month, and what is wrong with it: over its cap, refused, switched off."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kaixu.web.caps import cap_state
from kaixu.web.components import Link, Money, Notice, Number, Stat, Stats
from kaixu.web.formats import counted, usd_of_cents
from kaixu.web.months import days_gone, this_month
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit


def month_stats(visit: Visit, reply: Mapping[str, Any]) -> Stats:
    """Cap, extra, spent, held, available, tokens."""
    month = reply["rollup"]
    cap, used = month["cap_cents"], month["spent_cents"] + month["held_cents"]
    state = "bad" if month["available_cents"] <= 0 else cap_state(used, cap)
    own_cap = usd_of_cents(reply["customer"]["monthly_cap_cents"])
    billing = visit.url(TABS["billing"].path, customer_id=visit.customer_id)
    return Stats(
        [
            Stat("Cap", Money(own_cap), note="a month, all keys together", href=billing),
            Stat("Extra", Money(month["extra_usd"]), note="topped up for this month", href=f"{billing}#topups"),
            Stat("Spent", Money(month["spent_usd"]), note=counted(month["calls"], "call")),
            Stat("Held", Money(month["held_usd"]), note="for calls that are running"),
            Stat("Available", Money(month["available_usd"]), note=lasts(reply),
                 state=None if state == "info" else state),
            Stat("Tokens", Number(month["input_tokens"] + month["output_tokens"]),
                 note=f"{month['input_tokens']:,} in, {month['output_tokens']:,} out"),
        ]
    )  # fmt: skip


def lasts(reply: Mapping[str, Any]) -> str:
    """How long what is available lasts at the month's rate."""
    month = reply["rollup"]
    if reply["month"] != this_month():
        return "at the end of the month"
    if month["available_cents"] <= 0:
        return "the cap is used up"
    a_day = Decimal(month["spent_usd"]) / Decimal(days_gone())
    if a_day <= 0:
        return "nothing spent yet"
    days = Decimal(month["available_usd"]) / a_day
    if days < 1:
        return f"about {max(1, round(days * 24))} hours at this rate"
    return f"about {days:,.0f} days at this rate" if days < 1000 else "more than 1,000 days at this rate"


def warnings_of(visit: Visit, reply: Mapping[str, Any], over_time: Mapping[str, Any]) -> list[Notice]:
    """What keeps the customer's calls from being served."""
    month = reply["rollup"]
    billing = Link("Billing & Controls", visit.url(TABS["billing"].path, customer_id=visit.customer_id))
    is_now = reply["month"] == this_month()
    found = []
    if visit.customer is not None and not visit.customer["is_active"]:
        text = "This customer is switched off: every call is refused."
        found.append(Notice("bad", text, "Switch it on under Customer policy.", [billing]))
    if is_now and month["available_cents"] <= 0:
        text = "This customer has used up its cap: calls are refused with 402 until it is raised or topped up."
        found.append(Notice("bad", text, "Held amounts come back when running calls end.", [billing]))
    refused = sum(row["refusals"] or 0 for row in over_time["rows"])
    if refused:
        text = f"{refused:,} {'call was' if refused == 1 else 'calls were'} refused or failed in {reply['month']}."
        hint = "The monitor says why; limits and allowlists are set under Billing & Controls."
        monitor = Link("Show them", visit.url(TABS["monitor"].path, customer_id=visit.customer_id, level="warn"))
        found.append(Notice("warn", text, hint, [monitor, billing]))
    return found
