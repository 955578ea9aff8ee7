"""What the lists of customers and keys say about money: which cap binds, and what was spent on each of the last days."""

from __future__ import annotations

from typing import Any

import asyncpg

from kaixu.config.price import nusd_of_cents
from kaixu.plugin.types import Usage
from kaixu.store.rollups import fold_usage
from tests.support.calls import admit, billed
from tests.support.money import customer, virtual_key

from .conftest import Operator


async def listed(operator: Operator, customer_id: int) -> dict[str, dict[str, Any]]:
    """A customer's keys, by label."""
    reply = await operator.get(f"admin-keys?customer_id={customer_id}")
    return {row["label"]: row for row in reply["keys"]}


async def test_every_key_names_the_cap_that_leaves_it_the_least(operator: Operator, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, cap_nusd=nusd_of_cents(2000), day_cap_nusd=nusd_of_cents(1500))
    made = await operator.send(
        "POST", "admin-key-groups", {"customer_id": customer_id, "name": "team", "monthly_cap_cents": 400}
    )
    group_id = made["group"]["id"]
    no_cap, _ = await virtual_key(pool, customer_id, label="no cap of its own")
    await virtual_key(pool, customer_id, label="small cap", monthly_cap_nusd=nusd_of_cents(300))
    await virtual_key(pool, customer_id, label="day cap", day_cap_nusd=nusd_of_cents(50))
    first, _ = await virtual_key(pool, customer_id, label="in the team", group_id=group_id)
    await virtual_key(pool, customer_id, label="also in the team", group_id=group_id)
    await billed(pool, no_cap, Usage(), cost=nusd_of_cents(100))
    await billed(pool, first, Usage(), cost=nusd_of_cents(120))
    await admit(pool, first, most=nusd_of_cents(30))
    for _ in ("from the changes that wait", "from the roll-ups"):
        keys = await listed(operator, customer_id)
        assert {label: (row["binds"], row["room_usd"]) for label, row in keys.items()} == {
            "no cap of its own": ("customer_day_cap", "12.50"),
            "small cap": ("key_cap", "3.00"),
            "day cap": ("key_day_cap", "0.50"),
            "in the team": ("group_cap", "2.50"),
            "also in the team": ("group_cap", "2.50"),
        }
        await fold_usage(pool, most=1000)
    assert keys["in the team"]["money_limits"] == [
        {"limit": "customer_cap", "cap_usd": "20.00", "spent_usd": "2.20", "held_usd": "0.30", "available_usd": "17.50"},
        {"limit": "customer_day_cap", "cap_usd": "15.00", "spent_usd": "2.20", "held_usd": "0.30", "available_usd": "12.50"},
        {"limit": "group_cap", "cap_usd": "4.00", "spent_usd": "1.20", "held_usd": "0.30", "available_usd": "2.50"},
    ]  # fmt: skip
    reply = await operator.get(f"admin-keys?customer_id={customer_id}")
    assert [row["limit"] for row in reply["customer_limits"]] == ["customer_cap", "customer_day_cap"]
    assert reply["customer_binds"] == "customer_day_cap"


async def test_without_a_cap_of_its_own_the_customers_cap_with_top_ups_binds(
    operator: Operator, pool: asyncpg.Pool
) -> None:
    customer_id = await customer(pool, cap_nusd=nusd_of_cents(100))
    await virtual_key(pool, customer_id, label="only")
    await operator.send("POST", "admin-topup", {"customer_id": customer_id, "amount_cents": 50})
    [key] = (await listed(operator, customer_id)).values()
    assert (key["binds"], key["room_usd"], "available_usd" in key) == ("customer_cap", "1.50", False)


async def test_the_chain_of_a_key_is_listed_and_says_what_replaced_it(operator: Operator, pool: asyncpg.Pool) -> None:
    customer_id, other = await customer(pool), await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id, label="first")
    await virtual_key(pool, customer_id, label="another")
    new = (await operator.send("PUT", f"admin-keys?rotate_key_id={key_id}", {}))["new_key"]["id"]
    for one in (key_id, new):
        chain = await operator.get(f"admin-keys?customer_id={customer_id}&chain_of={one}")
        assert [(row["id"], row["replaced_by"]) for row in chain["keys"]] == [(new, None), (key_id, new)]
    assert (await operator.get(f"admin-keys?customer_id={other}&chain_of={key_id}"))["keys"] == []
    assert (await operator.ask("GET", f"admin-keys?customer_id={customer_id}&chain_of=x"))[0] == 422


async def test_daily_spending_is_todays_last_and_complete_before_and_after_roll_ups(
    operator: Operator, pool: asyncpg.Pool
) -> None:
    idle, busy = await customer(pool), await customer(pool)
    key_id, _ = await virtual_key(pool, busy)
    await billed(pool, key_id, Usage(), cost=nusd_of_cents(25))
    await pool.execute("update kaixu.usage_change set bucket = bucket - interval '3 days'")
    await billed(pool, key_id, Usage(), cost=nusd_of_cents(10))
    for _ in ("from the changes that wait", "from the roll-ups"):
        rows = (await operator.get("admin-customers?sparkline=5"))["customers"]
        spent = {row["id"]: row["daily_spent_usd"] for row in rows}
        assert spent == {idle: ["0.00"] * 5, busy: ["0.00", "0.25", "0.00", "0.00", "0.10"]}
        await fold_usage(pool, most=1000)
    assert "daily_spent_usd" not in (await operator.get("admin-customers"))["customers"][0]
    for wrong in ("1", "32", "x"):
        status, body = await operator.ask("GET", f"admin-customers?sparkline={wrong}")
        assert (status, body["field"]) == (422, "sparkline")


async def test_daily_spending_is_for_a_page_of_customers_not_for_all(operator: Operator, pool: asyncpg.Pool) -> None:
    await pool.execute(
        "insert into kaixu.customer (email, monthly_cap_nusd) select n || '@example.com', 0 from generate_series(1, 201) n"
    )
    assert (await operator.ask("GET", "admin-customers?sparkline=14&limit=1000"))[0] == 422
    assert (await operator.ask("GET", "admin-customers?sparkline=14&limit=200"))[0] == 200
