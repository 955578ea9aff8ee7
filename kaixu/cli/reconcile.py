"""`kaixu reconcile`: prove that the books add up."""

from __future__ import annotations

import typer

from kaixu.accounts import fields
from kaixu.accounts.reconcile import Reconciled
from kaixu.accounts.reconcile import reconcile as prove

from .examples import example
from .failure import fail
from .report import print_json, print_record, print_rows
from .session import AsJson, CommandSession, with_database

#: Of a long list the first rows say enough; `--json` has all of them.
MOST_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("reconcile --month 2026-11"))(reconcile)


def reconcile(
    month: str = typer.Option(None, help="Only this month, as 2026-11."),
    as_json: AsJson = False,
) -> None:
    """Prove for every customer, key and month that events, spend, holds and top-ups add up.

    Exits 1 with the first figure that does not. Writes nothing; calls may go on meanwhile.
    """

    async def work(session: CommandSession) -> Reconciled:
        async with session.pool.acquire() as connection:
            return await prove(connection, month=fields.month(month, "month"))

    found = with_database(work)
    if as_json:
        print_json(found)
    else:
        counts = {
            "customers": found.customers,
            "months": found.months,
            "events": found.events,
            "reservations": found.reservations,
            "adds_up": "no" if found.differences else "yes",
        }
        print_record(counts, as_json=False)
        for title, rows in (("does not add up", found.differences), ("worth a look", found.notes)):
            if rows:
                shown = rows[:MOST_SHOWN]
                print_rows(
                    [dict(zip(one.__struct_fields__, astuple(one), strict=True)) for one in shown],
                    as_json=False,
                    title=title,
                )
    if found.differences:
        first = found.differences[0]
        month_of = "" if first.month is None else f" in {first.month:%Y-%m} ({first.book})"
        raise fail(
            f"{len(found.differences)} figures do not add up; the first: {first.what} {first.id}{month_of}, "
            f"{first.figure}: kept {first.kept}, proven {first.proven}"
        )


def astuple(row: object) -> tuple[object, ...]:
    """A row's values, in the order of its fields."""
    import msgspec

    return msgspec.structs.astuple(row)  # type: ignore[arg-type]
