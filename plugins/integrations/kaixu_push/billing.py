"""`push-billing` and invoices: what a month of pushes costs, as the book has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

import msgspec

from kaixu.plugin import (
    Body,
    Book,
    BookMonth,
    Call,
    Database,
    Free,
    Key,
    KeyedCharge,
    Monthly,
    Operation,
    Operator,
    PerCall,
    PerUnit,
    Query,
)

from .errors import bad, cap_reached, cents, version_number
from .part import Part
from .shapes import written
from .tokens import OPERATORS, Nothing

GIB = 2**30

CHARGES: list[KeyedCharge] = [
    PerCall("deploy", book="push"),
    PerUnit("gib", unit="bytes", per=GIB, book="push"),
    Monthly("base", book="push"),
]

STORE = """
    insert into invoice (customer_id, month, pricing_version, total_cents, breakdown)
    values ($1, $2, $3, $4, $5::text::jsonb)
    on conflict (customer_id, month) do update
       set pricing_version = excluded.pricing_version, total_cents = excluded.total_cents,
           breakdown = excluded.breakdown, updated_at = now()
"""
LISTED = """
    select month, pricing_version, total_cents, breakdown::text as breakdown, created_at, updated_at from invoice
     where customer_id = $1 order by month desc limit 24
"""


class Breakdown(msgspec.Struct):
    """A month of pushes. Cents are rounded half up, and the parts add up to the total."""

    month: str
    pricing_version: int | str
    currency: str
    base_month_cents: int
    deploys_ready: int
    per_deploy_cents: float
    deploy_cost_cents: int
    bytes_uploaded: int
    gb_estimate: float
    per_gb_cents: float
    storage_cost_cents: int
    total_cents: int
    monthly_cap_cents: int


class Bill(msgspec.Struct):
    ok: bool
    breakdown: Breakdown


class Invoice(msgspec.Struct):
    month: str
    pricing_version: int | str
    total_cents: int
    breakdown: dict[str, Any]
    created_at: str
    updated_at: str


class Invoices(msgspec.Struct):
    invoices: list[Invoice]


class Asked(msgspec.Struct):
    month: Annotated[str | None, Query()] = None
    action: Annotated[str | None, Query()] = None


class AskedMonth(msgspec.Struct):
    month: Annotated[Any, Body("month")] = None


def month_of(value: Any) -> date | None:
    """A month from `YYYY-MM…`; None: the present one. Raises `Failure`."""
    if value is None or value == "":
        return None
    text = value[:7] if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text) or text < "2000":
        raise bad("Invalid month: write it YYYY-MM")
    return date.fromisoformat(f"{text}-01")


def breakdown_of(month: BookMonth) -> Breakdown:
    """A month of the book as clients know it."""
    billed, size = month.line_cents(), month.line("gib").units
    prices = {name: price.nusd for name, price in month.prices.items()}
    return Breakdown(
        month=f"{month.month:%Y-%m}",
        pricing_version=version_number(month.pricing_version),
        currency="USD",
        base_month_cents=billed.get("base", 0),
        deploys_ready=month.line("deploy").count,
        per_deploy_cents=in_cents(prices.get("deploy", 0)),
        deploy_cost_cents=billed.get("deploy", 0),
        bytes_uploaded=size,
        gb_estimate=round(size / GIB, 3),
        per_gb_cents=in_cents(prices.get("gib", 0)),
        storage_cost_cents=billed.get("gib", 0),
        total_cents=sum(billed.values()),
        monthly_cap_cents=0 if month.cap_nusd is None else cents(month.cap_nusd),
    )


def statement(month: BookMonth) -> dict[str, Any]:
    """What invoices, and the charges that a customer asks for, show of a month."""
    shown: dict[str, Any] = msgspec.to_builtins(breakdown_of(month))
    return shown


def in_cents(nusd: int) -> float:
    """A price in cents, whole where it is."""
    return nusd // 10**7 if nusd % 10**7 == 0 else nusd / 10**7


async def billing(call: Call[Asked]) -> Bill:
    """A month; `action=invoice` stores it."""
    breakdown = breakdown_of(await call.book("push", month_of(call.body.month)))
    if call.body.action == "invoice":
        async with call.db() as db:
            await store(db, call.customer_id, breakdown)
    return Bill(True, breakdown)


async def invoice(call: Call[Asked]) -> Bill:
    """A month, which is stored."""
    breakdown = breakdown_of(await call.book("push", month_of(call.body.month)))
    async with call.db() as db:
        await store(db, call.customer_id, breakdown)
    return Bill(True, breakdown)


async def store(db: Database, customer_id: int | None, breakdown: Breakdown) -> None:
    """Store an invoice; one of the same month is replaced, as the events have changed since."""
    await db.execute(
        STORE, customer_id, breakdown.month, str(breakdown.pricing_version), breakdown.total_cents,
        msgspec.json.encode(breakdown).decode(),
    )  # fmt: skip


async def invoices(call: Call[Nothing]) -> Invoices:
    """The newest two years, for operators."""
    async with call.db() as db:
        rows = await db.fetch(LISTED, call.customer_id)
    return Invoices([invoice_of(row) for row in rows])


async def make_invoice(call: Call[AskedMonth]) -> Bill:
    """Make an invoice, for operators."""
    breakdown = breakdown_of(await call.book("push", month_of(call.body.month)))
    async with call.db() as db:
        await store(db, call.customer_id, breakdown)
    return Bill(True, breakdown)


def invoice_of(row: Mapping[str, Any]) -> Invoice:
    """A stored invoice."""
    return Invoice(
        row["month"],
        version_number(row["pricing_version"]),
        row["total_cents"],
        msgspec.json.decode(row["breakdown"]),
        written(row["created_at"]),
        written(row["updated_at"]),
    )


BOOK = Book("push", title="KaixuPush", cap="cap", version="pricing_version", refused=cap_reached, statement=statement)

FREE = Free("reads one's own bill")

PART = Part(
    operations=[
        Operation(
            "push.billing", billing, Asked, FREE, method="GET", path="/billing", aliases=["push-billing"],
            auth=Key("admin"), admission="key",
        ),
        Operation(
            "push.invoice", invoice, Asked, FREE, path="/billing", aliases=["push-billing"],
            auth=Key("admin"), admission="key",
        ),
        Operation(
            "push.admin_invoices", invoices, Nothing, OPERATORS, method="GET", path="/admin/invoices",
            aliases=["admin-push-invoices"], auth=Operator(),
        ),
        Operation(
            "push.admin_invoice", make_invoice, AskedMonth, OPERATORS, path="/admin/invoices",
            aliases=["admin-push-invoices"], auth=Operator(),
        ),
    ]
)  # fmt: skip
