"""`kaixu seed-demo`: make or remove demo data."""

from __future__ import annotations

import typer

from kaixu.accounts.demo import Demo, unseed_demo
from kaixu.accounts.demo import seed_demo as make

from .examples import example
from .report import print_record
from .session import AsJson, CommandSession, with_database


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("seed-demo", epilog=example("seed-demo --customers 1000 --events 50000"))(seed_demo)


def seed_demo(
    customers: int = typer.Option(1000, help="How many customers."),
    events: int = typer.Option(50_000, help="How many calls, in 13 months up to now."),
    seed: int = typer.Option(1, help="The same seed makes the same data."),
    remove: bool = typer.Option(False, "--remove", help="Remove the demo data, and nothing else."),
    force: bool = typer.Option(False, "--force", help="Also in a database with real customers."),
    as_json: AsJson = False,
) -> None:
    """Fill a database with made-up customers and calls, or remove them.

    Their addresses are at demo.invalid. An interrupted run continues when the same command is run again.
    """
    if remove:

        async def take_away(session: CommandSession) -> dict[str, int]:
            return await unseed_demo(session.pool)

        print_record(with_database(take_away) or {"removed": 0}, as_json=as_json)
        return

    async def work(session: CommandSession) -> Demo:
        def progress(line: str) -> None:
            typer.echo(line, err=True)

        return await make(session.pool, customers=customers, events=events, seed=seed, force=force, progress=progress)

    demo = with_database(work)
    record = {
        "customers": demo.customers,
        "events": demo.events,
        "seed": demo.seed,
        "until": demo.until.isoformat(timespec="seconds"),
        "first_customer": demo.first_customer,
    }
    print_record(record, as_json=as_json)
