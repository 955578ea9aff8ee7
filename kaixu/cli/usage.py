"""`kaixu usage …`: what was used, and why it cost what it cost."""

from __future__ import annotations

from typing import Any

import typer

from kaixu.accounts.customers import find_customer
from kaixu.config.price import usd
from kaixu.reports.explain import Explanation
from kaixu.reports.explain import explain as explain_calls
from kaixu.reports.lanes import LaneUsage, lane_usage
from kaixu.reports.usage import CustomerUsage, customer_usage

from .examples import example
from .report import print_json, print_record, print_rows
from .session import AsJson, CommandSession, with_database

commands = typer.Typer(
    no_args_is_help=True, help="Usage: a customer's month, a month by lane, and the cost of one call explained."
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="usage")


@commands.command(epilog=example("usage show ada@example.com --month 2026-11"))
def show(
    customer: str = typer.Argument(help="Id or email."),
    month: str = typer.Option(None, help="The month, as 2026-11; default: this one."),
    as_json: AsJson = False,
) -> None:
    """A customer's month: totals, books, keys, newest calls."""

    async def work(session: CommandSession) -> CustomerUsage:
        found = await find_customer(session.pool, customer)
        return await customer_usage(session.pool, found.id, month=month)

    used = with_database(work)
    total = {
        "customer": used.customer.email,
        "month": f"{used.month:%Y-%m}",
        "cap_usd": usd(used.cap_nusd),
        "spent_usd": usd(used.total.spent_nusd),
        "held_usd": usd(used.total.held_nusd),
        "available_usd": usd(used.available_nusd),
        "vendor_cost_usd": usd(used.total.vendor_cost_nusd),
        "uncosted_usd": usd(used.total.uncosted_nusd),
        "calls": used.total.calls,
        "input_tokens": used.total.input_tokens,
        "output_tokens": used.total.output_tokens,
    }
    books = [
        {"book": one.book, "calls": one.calls, "spent_usd": usd(one.spent_nusd), "held_usd": usd(one.held_nusd)}
        for one in used.books
    ]
    keys = [
        {
            "key": f"{one.key_id} …{one.key_last4}",
            "label": one.label,
            "calls": one.calls,
            "spent_usd": usd(one.spent_nusd),
            **{f"{book}_usd": usd(one.books.get(book, 0)) for book in sorted({each.book for each in used.books})},
        }
        for one in used.keys
    ]
    events = [
        {
            "id": one.id,
            "at": one.created_at.isoformat(timespec="seconds"),
            "book": one.book,
            "model": f"{one.provider}/{one.model}",
            "input": one.input_tokens,
            "output": one.output_tokens,
            "cost_usd": usd(one.cost_nusd),
            "source": one.usage_source,
            "end": one.end_reason,
            "request_id": one.request_id,
        }
        for one in used.events
    ]
    if as_json:
        print_json({"total": total, "books": books, "keys": keys, "events": events})
        return
    print_record(total, as_json=False)
    print_rows(books, as_json=False, title="\nbooks, under one cap")
    print_rows(keys, as_json=False, title="\nkeys")
    print_rows(events[:20], as_json=False, title="\nnewest calls")


@commands.command(epilog=example("usage lanes --month 2026-11"))
def lanes(
    month: str = typer.Option(None, help="The month, as 2026-11; default: this one."),
    as_json: AsJson = False,
) -> None:
    """A month by deployment, with its share; for lanes with several keys also by key."""

    async def work(session: CommandSession) -> list[LaneUsage]:
        return await lane_usage(session.pool, month=month)

    found = with_database(work)
    total = sum(one.spent_nusd for one in found) or 1
    rows = [
        {
            "provider": one.provider,
            "deployment": one.deployment,
            "key": one.vendor_key or "",
            "calls": one.calls,
            "spent_usd": usd(one.spent_nusd),
            "vendor_cost_usd": usd(one.vendor_cost_nusd),
            "share": f"{one.spent_nusd * 100 / total:.1f} %",
        }
        for one in found
    ]
    print_rows(rows, as_json=as_json)


@commands.command(epilog=example("usage explain 4711"))
def explain(
    event: str = typer.Argument(help="An event's number, its ticket, or a request id."),
    as_json: AsJson = False,
) -> None:
    """Recompute a call's cost from its tokens and the price version it was billed by; exit 1 if it does not add up."""

    async def work(session: CommandSession) -> list[Explanation]:
        return await explain_calls(session.pool, event)

    found = with_database(work)
    if as_json:
        print_json(found)
    else:
        for one in found:
            print_explanation(one)
    if not all(one.adds_up for one in found):
        raise typer.Exit(1)


def print_explanation(one: Explanation) -> None:
    """One call: its tokens line by line, the sum, and what was billed."""
    event = one.event
    record: dict[str, Any] = {
        "event": event.id,
        "ticket": event.ticket,
        "request_id": event.request_id,
        "model": f"{event.provider}/{event.model}",
        "ended": event.end_reason,
        "usage_from": event.usage_source,
        "price_version": f"{event.price_id}, since {event.priced_at:%Y-%m-%d %H:%M}"
        if event.priced_at
        else event.price_id,
    }
    print_record(record, as_json=False)
    lines = [
        {
            "kind": line.kind,
            "tokens": line.tokens,
            "usd_per_million": usd(line.rate),
            "nano_dollars": f"{line.cost_millionths // 10**6}.{line.cost_millionths % 10**6:06d}",
        }
        for line in one.lines
    ]
    print_rows(lines, as_json=False)
    word = "adds up" if one.adds_up else "DOES NOT ADD UP"
    typer.echo(f"priced ${usd(one.priced_nusd or 0)}, billed ${usd(event.cost_nusd)}: {word}")
    if one.note:
        typer.echo(one.note)
