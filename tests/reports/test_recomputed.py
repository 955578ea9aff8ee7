"""Every kind of event is recomputed from its price version; one nano-dollar is a difference."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec
import pytest

from kaixu.catalog.catalog import rates_of
from kaixu.config.price import Price
from kaixu.metering.charges import cost_nusd as operation_cost
from kaixu.metering.pricing import cost_nusd
from kaixu.plugin.operation import Charge, PerCall, PerUnit
from kaixu.plugin.types import Usage
from kaixu.reports.reconcile import Reconciled, reconcile
from kaixu.store import admission
from kaixu.store.prices import price_version, rates_version
from tests.support.calls import COST, PRICE, admit, settle
from tests.support.money import customer, virtual_key

USAGE = Usage(input_tokens=1003, output_tokens=77, cached_input_tokens=400, cache_write_tokens=3, reasoning_tokens=10)
CACHED = Price(input=10_000_000, output=20_000_000, cached_input=10_000_000, cache_write=0, reasoning=20_000_000)


class Kind(msgspec.Struct, frozen=True):
    """A kind of event: what its call is, uses and costs. `rates` are an operation's; else `price` is by the token."""

    operation: str
    cost: int
    usage: Usage = Usage()
    units: dict[str, Any] | None = None
    price: Price = PRICE
    rates: dict[str, int] | None = None
    usage_source: str = "provider"
    end_reason: str = "complete"
    most: int = 10**9


def by_token(operation: str, usage: Usage = USAGE, price: Price = PRICE, **more: Any) -> Kind:
    """A call that is billed by the token."""
    return Kind(operation, cost_nusd(usage, price), usage, price=price, **more)


def by_charge(operation: str, charge: Charge, price_nusd: int, units: dict[str, int], **more: Any) -> Kind:
    """A call of an integration."""
    assert isinstance(charge, PerCall | PerUnit)
    rates = rates_of(charge, {charge.price: price_nusd})
    return Kind(operation, operation_cost(charge, price_nusd, units), units=units, rates=rates, **more)


EMBEDDED = Usage(input_tokens=12_345)
OPERATION = {"calls": 1, "bytes_in": 120, "bytes_out": 2_000_001, "seconds": 1}
GIB = PerUnit("gib", "bytes_out", most=2**40, per=2**30)
KINDS = {
    "chat": by_token("chat", units={"call": {"tries": 1, "deployment": "main"}}),
    "chat out of the cache": by_token("chat", price=CACHED, units={"call": {"tries": 0, "cache": "hit"}}),
    "chat that was counted": by_token("chat", usage_source="counted"),
    "chat counted above its hold": Kind("chat", 1000, USAGE, usage_source="counted", most=1000),
    "chat cut at its budget": Kind("chat", 1000, USAGE, end_reason="budget_cut", most=1000),
    "chat whose client left": by_token("chat", end_reason="client_gone", usage_source="estimated"),
    "chat that was not delivered": Kind(
        "chat",
        0,
        USAGE,
        {"undelivered": "UPSTREAM_ERROR", "unbilled_nusd": cost_nusd(USAGE, PRICE)},
        end_reason="undelivered",
        usage_source="counted",
        most=1000,
    ),
    "embedding": by_token("embed", EMBEDDED, units={"vectors": 7, "call": {"tries": 1}}),
    "embedding that is stored": by_token("embed", EMBEDDED, units={"vectors": 7, "stored": 7, "call": {"tries": 1}}),
    "import": Kind("import", 0, Usage(), {"stored": 7}, usage_source="counted"),
    "search": by_token("search", EMBEDDED, units={"searches": 1, "call": {"tries": 1}}),
    "job of a chat": by_token("job:chat"),
    "job of an embedding": by_token("job:embed", EMBEDDED, units={"vectors": 7}),
    "batch": by_token("job:batch", price=Price(1, 393_000_000, 49_125_000, 98_250_000, 393_000_000)),
    "operation by the call": by_charge("relay.send", PerCall("send"), 1_500_001, OPERATION),
    "operation by the unit": by_charge("push.upload", GIB, 250_000_000, OPERATION),
    "operation whose price is called per_page": by_charge(
        "scan.pages", PerUnit("per_page", "pages", most=100), 7, {"calls": 1, "pages": 13}
    ),
    "operation whose price is called as its unit is": by_charge(
        "scan.pages", PerUnit("per_page", "page", most=100), 7, {"calls": 1, "page": 13}
    ),
    "operation that was not delivered": Kind(
        "relay.send",
        0,
        units=OPERATION | {"undelivered": "INTEGRATION_FAILED", "unbilled_nusd": 9},
        rates={"send": 9},
        end_reason="undelivered",
    ),
    "free operation": Kind("relay.list", 0, units={"calls": 1}, rates={}),
    "job of an integration": by_charge("job:push.upload", GIB, 250_000_000, OPERATION),
}


async def bill(pool: asyncpg.Pool, kind: Kind) -> None:
    """One call of this kind, admitted and settled."""
    if kind.rates is None:
        price_id = await price_version(pool, provider="up", model="m", price=kind.price, cost=COST)
    else:
        price_id = await rates_version(pool, provider="up", model="m", rates=kind.rates)
    key_id, _ = await virtual_key(pool, await customer(pool))
    ask, verdict = await admit(pool, key_id, operation=kind.operation, price_id=price_id, most=kind.most)
    assert verdict.refused is None
    await settle(
        pool,
        ask,
        verdict,
        kind.usage,
        cost=kind.cost,
        end_reason=kind.end_reason,
        usage_source=kind.usage_source,
        units=kind.units,
    )


async def proof(pool: asyncpg.Pool) -> Reconciled:
    """What `kaixu reconcile` finds."""
    async with pool.acquire() as connection:
        return await reconcile(connection)


async def test_events_of_every_kind_add_up(pool: asyncpg.Pool) -> None:
    for kind in KINDS.values():
        await bill(pool, kind)
    result = await proof(pool)
    assert (result.differences, result.not_recomputable, result.events) == ([], [], len(KINDS))


@pytest.mark.parametrize("change", [1, -1])
async def test_a_nano_dollar_more_or_less_is_a_difference_for_every_kind(pool: asyncpg.Pool, change: int) -> None:
    """The months and the roll-ups are changed with the events: only recomputing can find it."""
    for kind in KINDS.values():
        await bill(pool, kind)
    await pool.execute("update kaixu.usage_event set cost_nusd = cost_nusd + $1", change)
    for month in ("customer_month", "key_month"):
        await pool.execute(f"update kaixu.{month} set spent_nusd = spent_nusd + $1", change)
    await pool.execute("update kaixu.usage_change set spent_nusd = spent_nusd + $1", change)
    result = await proof(pool)
    assert [(one.what, one.figure) for one in result.differences] == [("event", "cost_nusd")] * len(KINDS)
    expected = [kind.cost for kind in KINDS.values()]
    assert [(one.kept, one.proven) for one in result.differences] == [(cost + change, cost) for cost in expected]


@pytest.mark.parametrize("charge", [False, True], ids=["free", "charged"])
async def test_a_lost_call_costs_nothing_or_its_whole_hold(pool: asyncpg.Pool, charge: bool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    _ask, _ = await admit(pool, key_id, most=700)
    await pool.execute("update kaixu.reservation set expires_at = now() - interval '1 s'")
    assert len(await admission.expire(pool, charge=charge)) == 1
    assert (await proof(pool)).differences == []
    await pool.execute("update kaixu.usage_event set cost_nusd = cost_nusd + 1")
    [wrong] = [one for one in (await proof(pool)).differences if one.what == "event"]
    assert (wrong.figure, wrong.kept) == ("cost_nusd", (700 if charge else 0) + 1)


async def test_a_hold_that_was_put_back_for_less_still_bounds_at_what_was_granted(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    price_id = await price_version(pool, provider="up", model="m", price=PRICE, cost=COST)
    ask, verdict = await admit(pool, key_id, most=900, price_id=price_id)
    await pool.execute("delete from kaixu.reservation")
    await pool.execute("update kaixu.customer_month set held_nusd = 0")
    await pool.execute("update kaixu.key_month set held_nusd = 0")
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 300")
    assert verdict.customer_id is not None
    assert verdict.key_id is not None
    assert verdict.chain_id is not None
    hold = admission.Hold(
        ask.ticket, verdict.customer_id, verdict.key_id, verdict.chain_id, verdict.month, ask.book, 900, ask.operation,
        ask.provider, ask.model, price_id, None, "r",
    )  # fmt: skip
    assert await admission.reserve_again(pool, [hold], owner=ask.ticket, lifetime_s=60) == 1
    await settle(pool, ask, verdict, USAGE, cost=900, usage_source="counted", end_reason="client_gone")
    event = await pool.fetchrow("select cost_nusd, granted_nusd from kaixu.usage_event")
    assert event is not None
    assert tuple(event) == (300, 900)
    assert (await proof(pool)).differences == []


async def test_events_that_lack_what_recomputing_needs_are_counted_by_reason(pool: asyncpg.Pool) -> None:
    await bill(pool, KINDS["chat counted above its hold"])
    await bill(pool, KINDS["chat counted above its hold"])
    await bill(pool, KINDS["chat"])
    await pool.execute("update kaixu.usage_event set granted_nusd = null")
    await pool.execute(
        "update kaixu.usage_event set created_at = created_at - interval '1 year' where id = (select min(id) from kaixu.usage_event)"
    )
    result = await proof(pool)
    assert result.differences == []
    assert [(one.reason.split(":")[0], one.events) for one in result.not_recomputable] == [
        ("recorded before migration 0019_reconcile", 1),
        ("settled without its reservation", 1),
    ]
    await pool.execute("update kaixu.usage_event set cost_nusd = cost_nusd + 10000000")
    assert [one.what for one in (await proof(pool)).differences if one.what == "event"] == ["event"] * 3


async def test_many_events_are_proven_in_one_statement(pool: asyncpg.Pool) -> None:
    await bill(pool, KINDS["chat"])
    await pool.execute(
        """
        insert into kaixu.usage_event (ticket, month, customer_id, key_id, chain_id, book, operation, provider, model,
               price_id, cost_nusd, vendor_cost_nusd, input_tokens, output_tokens, cached_input_tokens,
               cache_write_tokens, reasoning_tokens, units, usage_source, end_reason, request_id, admitted_at,
               granted_nusd)
        select gen_random_uuid(), month, customer_id, key_id, chain_id, book, operation, provider, model, price_id,
               cost_nusd, vendor_cost_nusd, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens,
               reasoning_tokens, units, usage_source, end_reason, request_id, admitted_at, granted_nusd
          from kaixu.usage_event, generate_series(2, 100000)
        """
    )
    for month in ("customer_month", "key_month"):
        await pool.execute(
            f"""
            update kaixu.{month} set spent_nusd = spent_nusd * 100000, calls = 100000, input_tokens = input_tokens * 100000,
                   output_tokens = output_tokens * 100000, vendor_cost_nusd = vendor_cost_nusd * 100000
            """
        )
    result = await proof(pool)
    assert (result.differences, result.events) == ([], 100_000)
