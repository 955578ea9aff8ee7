"""`kaixu usage …`: usage by customer and by lane, and the cost of a call explained."""

from __future__ import annotations

from typing import Any

import typer

from kaixu.accounts.customers import find_customer
from kaixu.config.price import usd
from kaixu.reports.events import UsageEvent
from kaixu.reports.explain import Explanation
from kaixu.reports.explain import explain as explain_calls
from kaixu.reports.lanes import LaneUsage, lane_usage
from kaixu.reports.usage import MAX_EVENTS, CustomerUsage, KeyUsage, customer_usage

from .examples import example
from .report import print_json, print_record, print_rows
from .session import AsJson, CommandSession, with_database
from .usage_export import export

commands = typer.Typer(
    no_args_is_help=True,
    help="Usage: a customer's month, a month by lane, the cost of one call explained, files of calls.",
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="usage")


commands.command(epilog=example("usage export --customer ada@example.com --month 2026-11"))(export)


@commands.command(epilog=example("usage show ada@example.com --month 2026-11"))
def show(
    customer: str = typer.Argument(help="Id or email."),
    month: str = typer.Option(None, help="The month, as 2026-11; default: this one."),
    key: int = typer.Option(None, min=1, help="List only calls of this key and of those that it replaced: its id."),
    provider: str = typer.Option(None, help="List only calls of this lane."),
    model: str = typer.Option(None, help="List only calls of this model."),
    app: str = typer.Option(None, help="List only calls of this application."),
    end_user: str = typer.Option(None, "--end-user", help="List only calls of this end user."),
    end: str = typer.Option(None, help="List only calls that ended so: complete, client_gone, upstream_error …"),
    limit: int = typer.Option(20, min=1, max=MAX_EVENTS, help="How many calls are listed."),
    before: int = typer.Option(None, min=1, help="List calls before this event's id: the next page."),
    as_json: AsJson = False,
) -> None:
    """Show a customer's month: totals, books, keys, applications, end users, newest calls."""
    given: dict[str, object] = {
        "month": month,
        "api_key_id": key,
        "provider": provider,
        "model": model,
        "app": app,
        "end_user": end_user,
        "end": end,
        "limit": limit,
        "before_id": before,
    }

    async def work(session: CommandSession) -> CustomerUsage:
        row = await find_customer(session.pool, customer)
        return await customer_usage(session.pool, row.id, given)

    usage = with_database(work)
    total = total_record(usage)
    books = [
        {
            "book": row.book,
            "cap_usd": usd(row.cap_nusd)
            if row.cap_nusd is not None
            else "none"
            if row.has_own_cap
            else "the customer's",
            "calls": row.calls,
            "spent_usd": usd(row.spent_nusd),
            "held_usd": usd(row.held_nusd),
        }
        for row in usage.books
    ]
    names = sorted({row.book for row in usage.books})
    keys = [key_row(row, names) for row in usage.keys]
    apps = [{"app": row.app_id or "(none)", "calls": row.calls, "spent_usd": usd(row.spent_nusd)} for row in usage.apps]
    end_users = [
        {
            "end_user": row.end_user,
            "calls": row.calls,
            "spent_usd": usd(row.spent_nusd),
            "held_usd": usd(row.held_nusd),
            "cap_usd": "" if row.cap_nusd is None else usd(row.cap_nusd),
        }
        for row in usage.end_users
    ]
    events = [event_row(event) for event in usage.events]
    if as_json:
        print_json(
            {
                "total": total,
                "books": books,
                "keys": keys,
                "apps": apps,
                "end_users": end_users,
                "events": events,
                "next_before_id": usage.next_before_id,
            }
        )
        return
    print_record(total, as_json=False)
    print_rows(books, as_json=False, title="\nbooks")
    print_rows(keys, as_json=False, title="\nkeys")
    if any(row.app_id for row in usage.apps):
        print_rows(apps, as_json=False, title="\napplications")
    if end_users:
        print_rows(end_users, as_json=False, title="\nend users")
    print_rows(events, as_json=False, title="\nnewest calls")
    if usage.next_before_id is not None:
        typer.echo(f"\nmore: --before {usage.next_before_id}")


def total_record(usage: CustomerUsage) -> dict[str, Any]:
    """A customer's month, all books together."""
    total = usage.total
    return {
        "customer": usage.customer.email,
        "month": f"{usage.month:%Y-%m}",
        "cap_usd": usd(usage.cap_nusd),
        "spent_usd": usd(total.spent_nusd),
        "held_usd": usd(total.held_nusd),
        "available_usd": usd(usage.available_nusd),
        "vendor_cost_usd": usd(total.vendor_cost_nusd),
        "uncosted_usd": usd(total.uncosted_nusd),
        "calls": total.calls,
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
    }


def key_row(row: KeyUsage, books: list[str]) -> dict[str, Any]:
    """A key's month, in total and in each of the `books`."""
    return {
        "key": f"{row.key_id} …{row.key_last4}",
        "label": row.label,
        "calls": row.calls,
        "spent_usd": usd(row.spent_nusd),
        **{f"{book}_usd": usd(row.books.get(book, 0)) for book in books},
    }


def event_row(event: UsageEvent) -> dict[str, Any]:
    """One call."""
    return {
        "id": event.id,
        "at": event.created_at.isoformat(timespec="seconds"),
        "book": event.book,
        "model": f"{event.provider}/{event.model}",
        "input": event.input_tokens,
        "output": event.output_tokens,
        "cost_usd": usd(event.cost_nusd),
        "source": event.usage_source,
        "end": event.end_reason,
        "request_id": event.request_id,
    }


@commands.command(epilog=example("usage lanes --month 2026-11"))
def lanes(
    month: str = typer.Option(None, help="The month, as 2026-11; default: this one."),
    as_json: AsJson = False,
) -> None:
    """Show a month by deployment, and by vendor key for lanes with several keys, with shares."""

    async def work(session: CommandSession) -> list[LaneUsage]:
        return await lane_usage(session.pool, month=month)

    usage = with_database(work)
    total = sum(row.spent_nusd for row in usage) or 1
    rows = [
        {
            "provider": row.provider,
            "deployment": row.deployment,
            "key": row.vendor_key or "",
            "calls": row.calls,
            "spent_usd": usd(row.spent_nusd),
            "vendor_cost_usd": usd(row.vendor_cost_nusd),
            "share": f"{row.spent_nusd * 100 / total:.1f} %",
        }
        for row in usage
    ]
    print_rows(rows, as_json=as_json)


@commands.command(epilog=example("usage explain 4711"))
def explain(
    event: str = typer.Argument(help="An event's id, its ticket, or a request id."),
    as_json: AsJson = False,
) -> None:
    """Recompute a call's cost from its tokens and price version; exit 1 if it does not add up."""

    async def work(session: CommandSession) -> list[Explanation]:
        return await explain_calls(session.pool, event)

    explanations = with_database(work)
    if as_json:
        print_json(explanations)
    else:
        for explanation in explanations:
            print_explanation(explanation)
    if not all(explanation.adds_up for explanation in explanations):
        raise typer.Exit(1)


def print_explanation(one: Explanation) -> None:
    """Print one call: its tokens line by line, the sum, and the bill."""
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
