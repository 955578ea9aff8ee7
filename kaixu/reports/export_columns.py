"""The columns of exports: a name, and the SQL that reads it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kaixu.accounts import fields
from kaixu.config.mistakes import did_you_mean
from kaixu.plugin.errors import Invalid


class Column(msgspec.Struct, frozen=True):
    """One column. `is_text`: in CSV it is guarded against formulas; numbers, times and fixed words are not."""

    sql: str
    is_text: bool = False


def text(sql: str) -> Column:
    """A column of text that a client or a customer may have chosen."""
    return Column(sql, is_text=True)


def time(sql: str) -> Column:
    """A moment in UTC, to the millisecond."""
    return Column(f"""to_char({sql} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""")


def month(sql: str) -> Column:
    """A month, as 2026-11."""
    return Column(f"to_char({sql}, 'YYYY-MM')")


def cents(sql: str) -> Column:
    """Nano-dollars as cents, rounded half up."""
    return Column(f"({sql} + 5000000) / 10000000")


def usd(sql: str) -> Column:
    """Nano-dollars as dollars, exactly; at least two decimals."""
    exact = f"trim_scale({sql} / 1000000000::numeric)"
    return Column(f"(case when scale({exact}) < 2 then round({exact}, 2) else {exact} end)::text")


#: Of kaixu.usage_event e, its key k, the chain's newest key n, and its customer c.
EVENT_COLUMNS: Mapping[str, Column] = {
    "id": Column("e.id"),
    "created_at": time("e.created_at"),
    "admitted_at": time("e.admitted_at"),
    "month": month("e.month"),
    "customer_id": Column("e.customer_id"),
    "email": text("c.email"),
    "api_key_id": Column("e.key_id"),
    "key_last4": text("k.key_last4"),
    "key_label": text("k.label"),
    "provider": text("e.provider"),
    "model": text("e.model"),
    "book": text("e.book"),
    "operation": text("e.operation"),
    "input_tokens": Column("e.input_tokens"),
    "output_tokens": Column("e.output_tokens"),
    "total_tokens": Column("e.input_tokens + e.output_tokens"),
    "cached_input_tokens": Column("e.cached_input_tokens"),
    "cache_write_tokens": Column("e.cache_write_tokens"),
    "reasoning_tokens": Column("e.reasoning_tokens"),
    "cost_cents": cents("e.cost_nusd"),
    "cost_usd": usd("e.cost_nusd"),
    "cost_nusd": Column("e.cost_nusd"),
    "price_id": Column("e.price_id"),
    "usage_source": Column("e.usage_source"),
    "end_reason": Column("e.end_reason"),
    "duration_ms": Column("e.duration_ms"),
    "install_id": text("e.install_id"),
    "app_id": text("e.app_id"),
    "build_id": text("e.build_id"),
    "end_user": text("e.end_user"),
    "request_id": text("e.request_id"),
    "ticket": Column("e.ticket"),
}

#: What the operator pays and to whom: customers do not see it.
EVENT_COST_COLUMNS: Mapping[str, Column] = {
    "deployment": text("e.units -> 'call' ->> 'deployment'"),
    "vendor_cost_usd": Column(f"case when e.vendor_cost_known then {usd('e.vendor_cost_nusd').sql} end"),
    "margin_usd": Column(f"case when e.vendor_cost_known then {usd('(e.cost_nusd - e.vendor_cost_nusd)').sql} end"),
}

ADMIN_EVENTS = (
    "created_at",
    "api_key_id",
    "provider",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_cents",
    "install_id",
)
USER_EVENTS = ("created_at", "provider", "model", "input_tokens", "output_tokens", "cost_cents", "install_id")

#: Of a customer c in one month, m: the customer's month, or that of a key chain k; cm: always the customer's.
SUMMARY_COLUMNS: Mapping[str, Column] = {
    "month": month("m.month"),
    "customer_id": Column("c.id"),
    "email": text("c.email"),
    "plan": text("c.plan_name"),
    "customer_cap_cents": cents("c.monthly_cap_nusd"),
    "customer_spent_cents": cents("cm.spent_nusd"),
    "customer_extra_cents": cents("cm.extra_nusd"),
    "customer_spent_usd": usd("cm.spent_nusd"),
    "key_id": Column("k.id"),
    "key_last4": text("k.key_last4"),
    "key_label": text("k.label"),
    "key_cap_cents": cents("k.monthly_cap_nusd"),
    "key_spent_cents": cents("case when k.id is not null then m.spent_nusd end"),
    "cap_cents": cents("case when k.id is null then c.monthly_cap_nusd else k.monthly_cap_nusd end"),
    "extra_cents": cents("case when k.id is null then cm.extra_nusd end"),
    "spent_cents": cents("m.spent_nusd"),
    "spent_usd": usd("m.spent_nusd"),
    "held_usd": usd("m.held_nusd"),
    "calls": Column("m.calls"),
    "input_tokens": Column("m.input_tokens"),
    "output_tokens": Column("m.output_tokens"),
    "updated_at": time("m.updated_at"),
}

SUMMARY_COST_COLUMNS: Mapping[str, Column] = {
    "vendor_cost_usd": usd("m.vendor_cost_nusd"),
    "uncosted_usd": usd("m.uncosted_nusd"),
    "margin_usd": usd("(m.spent_nusd - m.uncosted_nusd - m.vendor_cost_nusd)"),
}

ADMIN_SUMMARY = (
    "month", "customer_id", "email", "plan", "cap_cents", "extra_cents", "spent_cents", "input_tokens", "output_tokens",
)  # fmt: skip
USER_SUMMARY = (
    "month", "customer_id", "plan", "customer_cap_cents", "customer_spent_cents", "customer_extra_cents", "key_id",
    "key_last4", "key_label", "key_cap_cents", "key_spent_cents",
)  # fmt: skip

#: The fields of `export_invoice.InvoiceLine`.
INVOICE = ("type", "api_key_id", "key_last4", "spent_cents", "total_tokens")
INVOICE_COLUMNS = (*INVOICE, "label", "calls", "input_tokens", "output_tokens", "spent_usd", "spent_nusd")

#: More than all columns there are.
MOST_COLUMNS = 60


def read_columns(value: object, known: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
    """The names in `columns=`, in the order given; without them, `default`. Raises `Invalid` for an unknown name."""
    if value is None or value == "":
        return default
    names = fields.names(value, "columns", MOST_COLUMNS)
    for name in names:
        if name not in known:
            shown = name if len(name) <= 60 else "…"
            raise Invalid(
                f"there is no column `{shown}`{did_you_mean(shown, known)}",
                hint=f"The columns are {', '.join(known)}.",
                field="columns",
            )
    return tuple(names) or default
