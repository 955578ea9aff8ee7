"""`kaixu top`: the customers, keys, models, lanes or deployments that spent most."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from kaixu.accounts.customers import find_customer
from kaixu.reports.margin import MOST_TOP, TOP_REPORT, MarginRow, read_margin, usage_margin
from kaixu.reports.table import Table, table_json

from .examples import example
from .report import print_json, print_rows
from .session import AsJson, CommandSession, with_database


class What(StrEnum):
    """What is compared."""

    CUSTOMERS = "customers"
    KEYS = "keys"
    MODELS = "models"
    LANES = "lane"
    DEPLOYMENTS = "deployment"


class Order(StrEnum):
    """What it is compared by."""

    SPENT = "spent"
    CALLS = "calls"
    MARGIN = "margin"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("top customers --since 7d"))(top)


def top(
    what: Annotated[What, typer.Argument(help="What to compare.")] = What.CUSTOMERS,
    month: Annotated[str | None, typer.Option(help="A month, as 2026-11; default: this one.")] = None,
    since: Annotated[str | None, typer.Option(help="Instead of a month: 24h, 7d, or a date.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only this customer: id or email.")] = None,
    order: Annotated[Order, typer.Option(help="What to sort by.")] = Order.SPENT,
    limit: Annotated[int, typer.Option(min=1, max=MOST_TOP, help="How many rows.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show what spent most, with calls, vendor cost and margin."""
    given: dict[str, object] = {"by": what.value, "order": order.value, "limit": limit, "month": month}
    if since is not None:
        given["from"] = f"now-{since}" if since[-1:] in "mhdw" and since[:-1].isdigit() else since

    async def work(session: CommandSession) -> Table[MarginRow]:
        if customer is not None:
            given["customer_id"] = (await find_customer(session.pool, customer)).id
        question = read_margin(given, default_by="customer", most=MOST_TOP, default=10)
        return await usage_margin(session.pool, given, question, TOP_REPORT)

    found = with_database(work)
    body = table_json(found)
    if as_json:
        print_json(body)
        return
    shown = ("id", "name", "calls", "spent_usd", "vendor_cost_usd", "margin_usd", "margin_percent")
    rows = [{name: "" if row[name] is None else row[name] for name in shown} for row in body["rows"]]
    print_rows(rows, as_json=False, title=f"{body['from']} to {body['to']}")
