"""Proves that an invoice is what was issued, and shows how the usage has changed since."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from datetime import date
from typing import Any

import asyncpg
import msgspec

from kaixu.config.price import usd
from kaixu.store import invoices as store
from kaixu.store.invoices import Line, Stored
from kaixu.store.pool import database

from .amounts import totals_of
from .issue import find_invoice
from .printing import printed


class Verification(msgspec.Struct, frozen=True):
    """The result. `wrong`: what is not as it was issued; `changed`: usage that differs from what was billed."""

    number: str
    sha256: str
    pdf_sha256: str
    wrong: list[str]
    changed: list[str]


async def verify(pool: asyncpg.Pool, name: str) -> Verification:
    """Rebuild an invoice from its snapshot, its lines and the events of its month. Raises `NotFound`."""
    with database():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            stored = await find_invoice(connection, name)
            pdf = await store.pdf_of(connection, stored.id)
            lines = await store.LINES.all(connection, stored.id)
            figures = await store.FIGURES.all(connection, stored.customer_id, stored.month)
    snapshot = msgspec.json.decode(stored.snapshot)
    wrong = await asyncio.to_thread(wrong_hashes, stored, pdf)
    wrong += wrong_amounts(stored, snapshot)
    changed: list[str] = []
    if stored.kind == "invoice":
        wrong += wrong_lines(stored, snapshot, lines)
        changed = differences(stored.month, lines, figures)
    return Verification(stored.name, stored.sha256, stored.pdf_sha256, wrong, changed)


def wrong_hashes(stored: Stored, pdf: bytes) -> list[str]:
    """The hashes that do not fit: of the snapshot, of the PDF, and of the PDF made anew."""
    wrong = []
    if hashlib.sha256(stored.snapshot.encode()).hexdigest() != stored.sha256:
        wrong.append("the snapshot does not have its SHA-256")
    if hashlib.sha256(pdf).hexdigest() != stored.pdf_sha256:
        wrong.append("the PDF does not have its SHA-256")
    if hashlib.sha256(printed(stored.snapshot)).hexdigest() != stored.pdf_sha256:
        wrong.append("the PDF made from the snapshot is another one (made by another version of the program?)")
    return wrong


def wrong_amounts(stored: Stored, snapshot: dict[str, Any]) -> list[str]:
    """The fields of the row that the snapshot contradicts."""
    sign = -1 if stored.kind == "credit_note" else 1
    amounts = snapshot["amounts"]
    wrong = [
        f"{name} is {getattr(stored, name)}, in the snapshot {sign * amounts[name]}"
        for name in ("net_nusd", "net_cents", "tax_cents", "total_cents")
        if getattr(stored, name) != sign * amounts[name]
    ]
    if snapshot["number"] != stored.name:
        wrong.append(f"the snapshot's number is {snapshot['number']}")
    return wrong


def wrong_lines(stored: Stored, snapshot: dict[str, Any], lines: list[Line]) -> list[str]:
    """What does not follow from the stored lines: the snapshot's lines, cents, tax and total."""
    totals = totals_of([line.amount_nusd for line in lines], snapshot["taxes"][0]["rate_hundredths"])
    rebuilt = [
        (line.line, f"{line.month:%Y-%m}", line.book, line.provider, line.model, line.amount_nusd, cents)
        for line, cents in zip(lines, totals.line_cents, strict=True)
    ]
    names = ("line", "month", "book", "provider", "model", "amount_nusd", "amount_cents")
    printed = [tuple(line[name] for name in names) for line in snapshot["lines"]]
    wrong = [
        f"line {one[0]} is not what is billed" for one, other in zip(rebuilt, printed, strict=False) if one != other
    ]
    if len(rebuilt) != len(printed):
        wrong.append(f"{len(printed)} lines are printed, {len(rebuilt)} are billed")
    computed = (totals.net_nusd, totals.net_cents, totals.tax_cents, totals.total_cents)
    if computed != (stored.net_nusd, stored.net_cents, stored.tax_cents, stored.total_cents):
        wrong.append(f"the totals computed from the lines are {computed}")
    return wrong


def differences(month: date, lines: list[Line], figures: list[store.Figure]) -> list[str]:
    """The models whose events of the month now cost something else than this invoice bills.

    The figures also have what all invoices in force bill together; the rest waits for the next one.
    """
    here: dict[tuple[str, str, str], int] = defaultdict(int)
    now: dict[tuple[str, str, str], int] = defaultdict(int)
    waiting: dict[tuple[str, str, str], int] = defaultdict(int)
    for line in lines:
        if line.month == month:
            here[line.book, line.provider, line.model] += line.amount_nusd
    for one in figures:
        if one.month == month:
            what = (one.book, one.provider, one.model)
            waiting[what] += one.amount_nusd
            if not one.billed:
                now[what] += one.amount_nusd
    return [
        f"{'/'.join(what)}: the events cost ${usd(now[what])}, this invoice bills ${usd(here[what])}; "
        f"${usd(waiting[what])} waits for the next invoice"
        for what in sorted({*here, *now})
        if here[what] != now[what]
    ]
