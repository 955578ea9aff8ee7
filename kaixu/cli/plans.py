"""`kaixu plans …`: the plans of kaixu.yaml, their versions and their customers."""

from __future__ import annotations

from typing import Any

import typer

from kaixu.accounts import plans as accounts

from .examples import example
from .report import print_json, print_record, print_rows
from .session import AsJson, CommandSession, with_database

commands = typer.Typer(no_args_is_help=True, help="Plans: list, show.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="plans")


@commands.command("list", epilog=example("plans list"))
def list_plans(as_json: AsJson = False) -> None:
    """List the plans as the database has them, with their customers and how many of those deviate."""

    async def work(session: CommandSession) -> list[dict[str, Any]]:
        return [accounts.plan_json(plan) for plan in await accounts.list_plans(session.pool)]

    rows = with_database(work)
    if not as_json:
        rows = [without_settings(row) | (row["settings"] or {"cap": "not in kaixu.yaml any more"}) for row in rows]
        rows = [{name: value for name, value in row.items() if name in SHOWN} for row in rows]
    print_rows(rows, as_json=as_json, title="plans")


#: The columns of the table.
SHOWN = (
    "name",
    "version",
    "customers",
    "outdated",
    "deviating",
    "cap",
    "rpm",
    "rpd",
    "devices",
    "providers",
    "price_factor",
)


def without_settings(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what the plan sets."""
    return {name: value for name, value in row.items() if name != "settings"}


@commands.command("show", epilog=example("plans show starter"))
def show_plan(plan: str = typer.Argument(help="The plan's name in kaixu.yaml."), as_json: AsJson = False) -> None:
    """Show a plan and its versions, newest first."""

    async def work(session: CommandSession) -> accounts.ShownPlan:
        return await accounts.find_plan(session.pool, plan)

    shown = with_database(work)
    record = accounts.plan_json(shown.plan)
    versions = [accounts.version_json(one) for one in shown.versions]
    if as_json:
        print_json(record | {"history": versions})
        return
    print_record(without_settings(record), as_json=False)
    rows = [without_settings(one) | (one["settings"] or {"cap": "not in kaixu.yaml"}) for one in versions]
    print_rows(rows, as_json=False, title="\nversions")
