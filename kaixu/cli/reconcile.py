"""`kaixu reconcile`: prove that the books add up."""

from __future__ import annotations

import msgspec
import typer

from kaixu.accounts import fields
from kaixu.reports.reconcile import Reconciled
from kaixu.reports.reconcile import reconcile as prove

from .examples import example
from .failure import fail
from .report import print_json, print_record, print_rows
from .session import AsJson, CommandSession, with_database

#: The maximum number of printed rows of a table; `--json` has all.
MAX_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("reconcile --month 2026-11"))(reconcile)


def reconcile(
    month: str = typer.Option(None, help="Only this month, as 2026-11."),
    as_json: AsJson = False,
) -> None:
    """Prove for every customer, key and month that events, spend, holds and top-ups add up.

    Exit 1 with the first figure that does not. Writes nothing; calls may go on meanwhile.
    """

    async def work(session: CommandSession) -> Reconciled:
        async with session.pool.acquire() as connection:
            return await prove(connection, month=fields.month(month, "month"))

    result = with_database(work)
    if as_json:
        print_json(result)
    else:
        print_result(result)
    if result.differences:
        first = result.differences[0]
        month_name = "" if first.month is None else f" in {first.month:%Y-%m} ({first.book})"
        raise fail(
            f"{len(result.differences)} figures do not add up; the first: {first.what} {first.id}{month_name}, "
            f"{first.figure}: kept {first.kept}, proven {first.proven}"
        )


def print_result(result: Reconciled) -> None:
    """Print counts, differences, events that cannot be recomputed, and notes."""
    counts = {
        "customers": result.customers,
        "months": result.months,
        "events": result.events,
        "reservations": result.reservations,
        "adds_up": "no" if result.differences else "yes",
    }
    print_record(counts, as_json=False)
    tables = (
        ("does not add up", result.differences),
        ("not recomputable", result.not_recomputable),
        ("worth a look", result.notes),
    )
    for title, rows in tables:
        if rows:
            print_rows([msgspec.structs.asdict(row) for row in rows[:MAX_SHOWN]], as_json=False, title=title)
