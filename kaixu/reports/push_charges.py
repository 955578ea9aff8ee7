"""`user-push-charges`: what an account paid for pushes in a month, from the calls in the book of pushes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import asyncpg
import msgspec

from kaixu.config.price import cents_of_nusd, usd
from kaixu.store.query import Query

from .own_key import Credential, own_view, read_month
from .values import month_name

BYTES_PER_GB = 2**30

#: The units of which a price for each gigabyte is known.
BYTES = ("bytes", "bytes_in", "bytes_out", "bytes_sent")

EXPLANATION = (
    "Pushes are charged in a book of their own, beside calls of models. "
    "A book has a monthly cap of its own, or is limited together with the others by the account's."
)


class PushMonth(msgspec.Struct, frozen=True):
    """A month of pushes to GitHub, or of all others, which go to Netlify. Money is in nano-dollars.

    `pushes`, `bytes_uploaded`: the units that the operations counted. `rates`: of the calls' prices, the newest first.
    """

    is_github: bool
    spent_nusd: int
    pushes: int
    bytes_uploaded: int
    pricing_version: int | None
    rates: list[dict[str, int]]


# An account without the book is answered from its month alone, however many calls it made. The name of a call's
# integration or operation tells where it pushed to.
PUSHES = Query(
    PushMonth,
    """
    select x.is_github, sum(x.cost_nusd)::bigint as spent_nusd, sum(x.pushes)::bigint as pushes,
           sum(x.bytes)::bigint as bytes_uploaded, max(x.price_id) as pricing_version,
           coalesce((select jsonb_agg(p.rates order by p.id desc)
                       from kaixu.price p
                      where p.id = any(array_agg(x.price_id))), '[]'::jsonb) as rates
      from kaixu.customer_month m
     cross join lateral (
           select e.provider ~ '^(gh|github)' or e.operation ~ '^(gh|github)' as is_github, e.cost_nusd, e.price_id,
                  coalesce((select sum(u.value::text::numeric)
                              from jsonb_each(coalesce(e.units, '{}'::jsonb)) u
                             where jsonb_typeof(u.value) = 'number' and u.key in ('deploys', 'pushes')), 0) as pushes,
                  coalesce((select sum(u.value::text::numeric)
                              from jsonb_each(coalesce(e.units, '{}'::jsonb)) u
                             where jsonb_typeof(u.value) = 'number' and u.key in ('bytes', 'bytes_sent')), 0) as bytes
             from kaixu.usage_event e
            where e.customer_id = m.customer_id and e.month = m.month and e.book = m.book) x
     where m.customer_id = $1 and m.month = $2 and m.book = 'push'
     group by x.is_github
    """,
)

NO_PUSHES = PushMonth(False, 0, 0, 0, None, [])


class PushCharges(msgspec.Struct, frozen=True):
    """An account's month of pushes."""

    month: date
    netlify: PushMonth
    github: PushMonth


async def push_charges(pool: asyncpg.Pool, credential: Credential, values: Mapping[str, Any]) -> PushCharges:
    """The month of the account, whatever the key's role. Raises `Invalid`, `Unauthenticated`, `CustomerDisabled`."""
    async with own_view(pool, credential) as (db, own):
        month = await read_month(db, values)
        rows = {row.is_github: row for row in await PUSHES.all(db, own.customer_id, month)}
    return PushCharges(month, rows.get(False, NO_PUSHES), rows.get(True, NO_PUSHES))


def push_charges_json(charges: PushCharges) -> dict[str, Any]:
    """The month; zeros where nothing was pushed."""
    netlify, github = charges.netlify, charges.github
    total_nusd = netlify.spent_nusd + github.spent_nusd
    return {
        "month": month_name(charges.month),
        "currency": "USD",
        "transparency": EXPLANATION,
        "netlify": {
            "pricing_version": netlify.pricing_version,
            **part_fields(netlify, pushes="deploys_ready", price="per_deploy_cents"),
        },
        "github": {"pricing_version": "env", **part_fields(github, pushes="pushes_done", price="per_push_cents")},
        "total_push_cents": cents_of_nusd(total_nusd),
        "total_push_usd": usd(total_nusd),
    }


def part_fields(row: PushMonth, *, pushes: str, price: str) -> dict[str, Any]:
    """The pushes to one place. Its prices are those of the newest calls; zero where it has none."""
    return {
        "base_month_cents": 0,
        price: cents_of_nusd(next((nusd for rates in row.rates if (nusd := per_call_nusd(rates)) is not None), 0)),
        "per_gb_cents": cents_of_nusd(
            next((nusd for rates in row.rates if (nusd := per_gb_nusd(rates)) is not None), 0)
        ),
        pushes: row.pushes,
        "bytes_uploaded": row.bytes_uploaded,
        "gb_estimate": round(row.bytes_uploaded / BYTES_PER_GB, 3),
        "total_cents": cents_of_nusd(row.spent_nusd),
        "total_usd": usd(row.spent_nusd),
    }


def per_call_nusd(rates: Mapping[str, int]) -> int | None:
    """The price of a call; None where it is one for each unit."""
    return next(iter(rates.values())) if len(rates) == 1 else None


def per_gb_nusd(rates: Mapping[str, int]) -> int | None:
    """The price of a gigabyte; None where it is not one of bytes."""
    per = next((count for name in BYTES if (count := rates.get(f"per_{name}"))), None)
    if per is None or len(rates) != 2:
        return None
    [price_nusd] = (nusd for name, nusd in rates.items() if name not in {f"per_{one}" for one in BYTES})
    return price_nusd * BYTES_PER_GB // per
