"""Let a month pass: everything in the database becomes a month older."""

from __future__ import annotations

from kaixu.store.query import Connection

#: Tables with a month, and the column.
MONTHS = (
    ("customer_month", "month"),
    ("key_month", "month"),
    ("topup", "month"),
    ("topup", "named_month"),
    ("usage_event", "month"),
    ("reservation", "month"),
    ("customer", "carry_from"),
    ("balance_watch", "month"),
    ("cap_alert", "month"),
    ("cap_check", "month"),
)


async def next_month(db: Connection) -> None:
    """Make what belongs to this month belong to the one before, and so on."""
    for table, column in MONTHS:
        for months in (1200, -1199):  # far away and back: two rows never have the same month
            await db.execute(f"update kaixu.{table} set {column} = ({column} - interval '{months} months')::date")
    await db.execute("update kaixu.usage_event set admitted_at = admitted_at - interval '1 month'")
