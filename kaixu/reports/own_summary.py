"""`user-summary`: the month of a key and of its account, as the key may see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import asyncpg
import msgspec

from kaixu.config.price import NUSD_PER_CENT, cents_of_nusd, usd
from kaixu.store.query import Query

from .own_key import Credential, OwnKey, own_view, read_month, read_scope
from .time_range import read_clock
from .usage import KeyUsage, key_usage
from .values import budget_fields, month_name


class OwnMonth(msgspec.Struct, frozen=True):
    """A month of an account and of one of its key chains, all books together. Money is in nano-dollars."""

    customer_spent_nusd: int
    customer_held_nusd: int
    customer_extra_nusd: int
    customer_tokens: int
    customer_calls: int
    key_spent_nusd: int
    key_held_nusd: int
    key_tokens: int
    key_calls: int


OWN_MONTH = Query(
    OwnMonth,
    """
    select c.spent_nusd as customer_spent_nusd, c.held_nusd as customer_held_nusd, c.extra_nusd as customer_extra_nusd,
           c.tokens as customer_tokens, c.calls as customer_calls, k.spent_nusd as key_spent_nusd,
           k.held_nusd as key_held_nusd, k.tokens as key_tokens, k.calls as key_calls
      from (select coalesce(sum(m.spent_nusd), 0)::bigint as spent_nusd,
                   coalesce(sum(m.held_nusd), 0)::bigint as held_nusd,
                   coalesce(sum(m.extra_nusd), 0)::bigint as extra_nusd,
                   coalesce(sum(m.input_tokens + m.output_tokens), 0)::bigint as tokens,
                   coalesce(sum(m.calls), 0)::bigint as calls
              from kaixu.customer_month m
             where m.customer_id = $1 and m.month = $3) c
     cross join (select coalesce(sum(m.spent_nusd), 0)::bigint as spent_nusd,
                        coalesce(sum(m.held_nusd), 0)::bigint as held_nusd,
                        coalesce(sum(m.input_tokens + m.output_tokens), 0)::bigint as tokens,
                        coalesce(sum(m.calls), 0)::bigint as calls
                   from kaixu.key_month m
                  where m.chain_id = $2 and m.customer_id = $1 and m.month = $3) k
    """,
)


class Summary(msgspec.Struct, frozen=True):
    """A key's month at one moment; `keys`: those of the account, where the request asks for them."""

    own: OwnKey
    month: date
    figures: OwnMonth
    keys: list[KeyUsage] | None
    zone: str

    @property
    def customer_cap_nusd(self) -> int:
        """The account's cap, top-ups included."""
        return self.own.customer_cap_nusd + self.figures.customer_extra_nusd

    @property
    def key_cap_nusd(self) -> int:
        """The key's cap; without one of its own, the account's."""
        return self.customer_cap_nusd if self.own.key_cap_nusd is None else self.own.key_cap_nusd

    @property
    def customer_remaining_nusd(self) -> int:
        """What the account has left of its cap."""
        return max(0, self.customer_cap_nusd - self.figures.customer_spent_nusd)

    @property
    def key_remaining_nusd(self) -> int:
        """What the key has left of its cap, and at most what the account has left."""
        if self.own.key_cap_nusd is None:
            return self.customer_remaining_nusd
        return max(0, min(self.own.key_cap_nusd - self.figures.key_spent_nusd, self.customer_remaining_nusd))

    @property
    def available_nusd(self) -> int:
        """What the key's next call may cost: what both caps leave after the calls that are running."""
        figures = self.figures
        room = self.customer_cap_nusd - figures.customer_spent_nusd - figures.customer_held_nusd
        if self.own.key_cap_nusd is not None:
            room = min(room, self.own.key_cap_nusd - figures.key_spent_nusd - figures.key_held_nusd)
        return max(0, room)


async def own_summary(pool: asyncpg.Pool, credential: Credential, values: Mapping[str, Any]) -> Summary:
    """A key's month, from the parameters `month` and `scope`. Raises `Invalid`, `RoleTooLow`, `Unauthenticated`."""
    async with own_view(pool, credential) as (db, own):
        scope, month = read_scope(values, own), await read_month(db, values)
        figures = await OWN_MONTH.one(db, own.customer_id, own.chain_id, month)
        assert figures is not None
        keys = await key_usage(db, own.customer_id, month) if scope == "customer" else None
        return Summary(own, month, figures, keys, (await read_clock(db)).zone)


def summary_json(summary: Summary) -> dict[str, Any]:
    """A key's month: cents for display, exact dollars beside them. What is left is rounded down."""
    own, figures = summary.own, summary.figures
    customer_cap, customer_spent = cents_of_nusd(summary.customer_cap_nusd), cents_of_nusd(figures.customer_spent_nusd)
    shown: dict[str, Any] = {
        "customer": {
            "id": own.customer_id,
            "plan_name": own.plan_name,
            "monthly_cap_cents": cents_of_nusd(own.customer_cap_nusd),
            "is_active": own.is_active,
        },
        "key": {
            "id": own.key_id,
            "label": own.label,
            "key_last4": own.key_last4,
            "role": own.role,
            "has_cap_override": own.key_cap_nusd is not None,
        },
        "month": {
            "month": month_name(summary.month),
            "cap_cents": customer_cap,
            "spent_cents": customer_spent,
            "customer_cap_cents": customer_cap,
            "customer_spent_cents": customer_spent,
            "customer_extra_cents": cents_of_nusd(figures.customer_extra_nusd),
            "customer_remaining_cents": summary.customer_remaining_nusd // NUSD_PER_CENT,
            "customer_cap_usd": usd(summary.customer_cap_nusd),
            "customer_spent_usd": usd(figures.customer_spent_nusd),
            "customer_extra_usd": usd(figures.customer_extra_nusd),
            "customer_remaining_usd": usd(summary.customer_remaining_nusd),
            "customer_held_usd": usd(figures.customer_held_nusd),
            "customer_tokens": figures.customer_tokens,
            "customer_calls": figures.customer_calls,
            "key_cap_cents": cents_of_nusd(summary.key_cap_nusd),
            "key_spent_cents": cents_of_nusd(figures.key_spent_nusd),
            "key_remaining_cents": summary.key_remaining_nusd // NUSD_PER_CENT,
            "key_cap_usd": usd(summary.key_cap_nusd),
            "key_spent_usd": usd(figures.key_spent_nusd),
            "key_remaining_usd": usd(summary.key_remaining_nusd),
            "key_held_usd": usd(figures.key_held_nusd),
            "key_tokens": figures.key_tokens,
            "key_calls": figures.key_calls,
            "available_cents": summary.available_nusd // NUSD_PER_CENT,
            "available_usd": usd(summary.available_nusd),
        },
        "reporting_zone": summary.zone,
    }
    if summary.keys is not None:
        shown["keys"] = [own_key_json(row) for row in summary.keys]
    return shown


def own_key_json(row: KeyUsage) -> dict[str, Any]:
    """The month of one of the account's keys, without what only operators see."""
    available = None if row.cap_nusd is None else max(0, row.cap_nusd - row.spent_nusd - row.held_nusd)
    return {
        "id": row.key_id,
        "key_last4": row.key_last4,
        "label": row.label,
        **budget_fields(row.spent_nusd, row.held_nusd, available),
        "calls": row.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }
