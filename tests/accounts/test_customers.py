"""Customers are created and changed together with an audit event, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from kaixu.accounts.customer_list import customer_page
from kaixu.accounts.customers import change_customer, create_customer, find_customer
from kaixu.plugin.errors import Conflict, Invalid, NotFound, Unprocessable
from kaixu.store.customers import Customer

from .conftest import By


async def ada(pool: asyncpg.Pool, by: By, **more: object) -> Customer:
    """A customer."""
    given = {"email": "Ada@Example.com", **more}
    return await create_customer(pool, given, default_cap_nusd=7, **by)


async def log(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    """The audit log, without its rows."""
    rows = await pool.fetch("select actor, action, target, request_id, meta from kaixu.audit_event order by id")
    return [tuple(row) for row in rows]


async def test_a_customer_is_made_with_defaults_and_written_down(pool: asyncpg.Pool, by: By) -> None:
    made = await ada(pool, by, monthly_cap_cents="", plan_name=" ")
    assert (made.email, made.plan_name, made.monthly_cap_nusd, made.is_active) == (
        "ada@example.com",
        "starter",
        7,
        True,
    )
    assert await log(pool) == [("admin", "CUSTOMER_CREATE", f"customer:{made.id}", "request-1", {})]
    after = await pool.fetchval("select after from kaixu.audit_event")
    assert after["email"] == "ada@example.com"


async def test_an_email_is_taken_in_whatever_case(pool: asyncpg.Pool, by: By) -> None:
    await ada(pool, by)
    with pytest.raises(Conflict):
        await create_customer(pool, {"email": "ADA@example.com"}, default_cap_nusd=7, **by)
    assert len(await log(pool)) == 1


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, Invalid),
        ({"email": None}, Invalid),
        ({"email": "ada"}, Unprocessable),
        ({"email": "b@example.com", "plan_name": "p" * 41}, Unprocessable),
        ({"email": "b@example.com", "plan_name": "p\x07"}, Unprocessable),
        ({"email": "b@example.com", "monthly_cap_cents": -1}, Unprocessable),
    ],
)
async def test_an_invalid_customer_is_not_created(
    pool: asyncpg.Pool, by: By, given: dict[str, object], error: type[Invalid]
) -> None:
    with pytest.raises(error):
        await create_customer(pool, given, default_cap_nusd=7, **by)
    assert await log(pool) == []


async def test_only_what_is_given_changes(pool: asyncpg.Pool, by: By) -> None:
    made = await ada(pool, by, max_devices_per_key=3, allowed_models={"kaixu": ["*"]})
    after = await change_customer(
        pool,
        made.id,
        {"plan_name": None, "monthly_cap_cents": None, "max_devices_per_key": None, "is_active": False},
        **by,
    )
    assert (after.plan_name, after.monthly_cap_nusd, after.max_devices_per_key, after.is_active) == (
        "starter",
        7,
        None,
        False,
    )
    assert after.allowed_models == {"kaixu": ["*"]}
    assert (await log(pool))[1] == (
        "admin",
        "CUSTOMER_UPDATE",
        f"customer:{made.id}",
        "request-1",
        {"fields": ["is_active", "max_devices_per_key"]},
    )
    [(before, now)] = await pool.fetch("select before, after from kaixu.audit_event order by id desc limit 1")
    assert (before["max_devices_per_key"], now["max_devices_per_key"]) == (3, None)


async def test_the_room_for_vectors_is_set_and_cleared_and_written_down(pool: asyncpg.Pool, by: By) -> None:
    made = await ada(pool, by, max_vectors="5000")
    assert made.max_vectors == 5000
    assert (await change_customer(pool, made.id, {"max_vectors": 0}, **by)).max_vectors == 0
    assert (await change_customer(pool, made.id, {"max_vectors": None}, **by)).max_vectors is None
    assert [entry[4] for entry in await log(pool)] == [{}, {"fields": ["max_vectors"]}, {"fields": ["max_vectors"]}]
    kept = await pool.fetch("select after -> 'max_vectors' from kaixu.audit_event order by id")
    assert [row[0] for row in kept] == [5000, 0, None]
    for wrong in (-1, 10**12 + 1, "many", 1.5):
        with pytest.raises(Unprocessable, match="max_vectors"):
            await change_customer(pool, made.id, {"max_vectors": wrong}, **by)


async def test_a_change_of_nothing_is_not_written_down(pool: asyncpg.Pool, by: By) -> None:
    made = await ada(pool, by)
    assert await change_customer(pool, made.id, {"plan_name": "starter", "is_active": None}, **by) == made
    assert len(await log(pool)) == 1


async def test_a_change_names_something_that_can_change(pool: asyncpg.Pool, by: By) -> None:
    made = await ada(pool, by)
    with pytest.raises(Invalid):
        await change_customer(pool, made.id, {"created_at": "now"}, **by)
    with pytest.raises(NotFound):
        await change_customer(pool, made.id + 1, {"is_active": False}, **by)


async def test_an_email_of_another_customer_is_refused(pool: asyncpg.Pool, by: By) -> None:
    made = await ada(pool, by)
    await create_customer(pool, {"email": "b@example.com"}, default_cap_nusd=7, **by)
    with pytest.raises(Conflict):
        await change_customer(pool, made.id, {"email": "B@example.com"}, **by)
    assert (await find_customer(pool, "ada@EXAMPLE.com")).id == made.id


async def test_concurrent_changes_are_all_kept(pool: asyncpg.Pool, by: By) -> None:
    made = await ada(pool, by)
    await asyncio.gather(
        change_customer(pool, made.id, {"plan_name": "pro"}, **by),
        change_customer(pool, made.id, {"monthly_cap_cents": 900}, **by),
        change_customer(pool, made.id, {"max_devices_per_key": 4}, **by),
    )
    after = await find_customer(pool, str(made.id))
    assert (after.plan_name, after.monthly_cap_nusd, after.max_devices_per_key) == ("pro", 9_000_000_000, 4)


async def test_a_customer_is_found_by_id_or_email(pool: asyncpg.Pool, by: By) -> None:
    made = await ada(pool, by)
    assert await find_customer(pool, str(made.id)) == made == await find_customer(pool, "ada@example.com")
    for nobody in ("99", "nobody@example.com"):
        with pytest.raises(NotFound):
            await find_customer(pool, nobody)


async def test_the_list_goes_backwards_page_by_page(pool: asyncpg.Pool, by: By) -> None:
    made = [
        (await create_customer(pool, {"email": f"c{number}@example.com"}, default_cap_nusd=7, **by)).id
        for number in range(5)
    ]
    first = (await customer_page(pool, {"limit": 2})).customers
    then = (await customer_page(pool, {"limit": 9, "before_id": first[-1].id})).customers
    assert [row.id for row in first + then] == made[::-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_the_database_says_what_follows_an_address(pool: asyncpg.Pool, order: str) -> None:
    emails = [f"{name}@example.com" for name in ("ÄRGER", "Ärger2", "ärger3", "İstanbul", "Zoë", "anna")]
    for email in emails:
        await pool.execute(
            "insert into kaixu.customer (email, plan_name, monthly_cap_nusd) values ($1, 'starter', 7)", email
        )
    found: list[str] = []
    given: dict[str, object] = {"sort": "email", "order": order, "limit": 1}
    for _ in emails:
        page = await customer_page(pool, given)
        found += [row.email for row in page.customers]
        given["cursor"] = page.next_cursor
    assert (sorted(found), page.next_cursor) == (sorted(emails), None)


@pytest.mark.parametrize("given", [{"order": "asc"}, {"sort": "spent"}, {"sort": "email"}, {"cursor": "id~3~3"}])
async def test_before_id_is_refused_in_every_other_order(pool: asyncpg.Pool, given: dict[str, str]) -> None:
    with pytest.raises(Unprocessable) as refused:
        await customer_page(pool, {"before_id": 3, **given})
    assert refused.value.field == "before_id"
