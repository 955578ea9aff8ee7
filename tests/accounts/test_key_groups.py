"""Groups of keys: who may be in one, what moves with a key, and what a deletion must not take away."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from kaixu.accounts.key_groups import KeyGroup, change_group, create_group, customer_groups, delete_group
from kaixu.accounts.keys import change_key, create_key, rotate_key
from kaixu.plugin.errors import Conflict, Invalid, NotFound, Unprocessable
from kaixu.plugin.types import Usage
from tests.support.calls import admit, settle
from tests.support.money import customer

from .conftest import By

PEPPER = "pepper"


async def made(pool: asyncpg.Pool, by: By, customer_id: int, **given: object) -> KeyGroup:
    """A group."""
    return await create_group(pool, customer_id, {"name": "team", **given}, **by)


async def spend(pool: asyncpg.Pool, key_id: int, nusd: int) -> None:
    """One call of a key that costs `nusd`."""
    ask, verdict = await admit(pool, key_id, most=nusd)
    assert verdict.refused is None
    await settle(pool, ask, verdict, Usage(1, 1), cost=nusd)


async def test_a_group_is_made_changed_and_listed_with_what_its_keys_have_spent(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool)
    group = await made(pool, by, customer_id, monthly_cap_cents=100, tpm_limit="500")
    key = await create_key(pool, customer_id, {"group_id": group.id}, pepper=PEPPER, **by)
    await spend(pool, key.row.id, 7)
    changed = await change_group(pool, group.id, {"tpm_limit": None, "name": "lab"}, **by)
    assert (changed.name, changed.tpm_limit, changed.monthly_cap_nusd) == ("lab", None, 10**9)
    [listed] = await customer_groups(pool, customer_id)
    assert (listed, listed.spent_nusd, listed.active_keys) == (changed, 7, 1)
    actions = await pool.fetch(
        "select action from kaixu.audit_event where target = $1 order by id", f"group:{group.id}"
    )
    assert [row["action"] for row in actions] == ["GROUP_CREATE", "GROUP_UPDATE"]


async def test_what_is_wrong_is_named(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool)
    group = await made(pool, by, customer_id)
    with pytest.raises(Conflict, match="group with this name"):
        await create_group(pool, customer_id, {"name": "TEAM"}, **by)
    with pytest.raises(Invalid, match="`name` is missing"):
        await create_group(pool, customer_id, {"name": " "}, **by)
    with pytest.raises(Invalid, match="there is no field `rpd_limit`"):
        await create_group(pool, customer_id, {"name": "x", "rpd_limit": 5}, **by)
    with pytest.raises(Unprocessable, match="`tpm_limit` must lie between"):
        await change_group(pool, group.id, {"tpm_limit": -1}, **by)
    with pytest.raises(Invalid, match="nothing to change"):
        await change_group(pool, group.id, {}, **by)
    with pytest.raises(NotFound, match="there is no customer"):
        await create_group(pool, 99, {"name": "x"}, **by)
    with pytest.raises(NotFound, match="there is no customer"):
        await customer_groups(pool, 99)
    with pytest.raises(NotFound, match="there is no group"):
        await change_group(pool, 99, {"name": "x"}, **by)


async def test_a_key_cannot_be_in_another_customer_s_group(pool: asyncpg.Pool, by: By) -> None:
    mine, theirs = await customer(pool), await customer(pool)
    group = await made(pool, by, theirs)
    with pytest.raises(NotFound, match="no group"):
        await create_key(pool, mine, {"group_id": group.id}, pepper=PEPPER, **by)
    key = await create_key(pool, mine, {}, pepper=PEPPER, **by)
    with pytest.raises(NotFound, match="no group"):
        await change_key(pool, key.row.id, {"group_id": group.id}, **by)
    assert await pool.fetchval("select count(*) from kaixu.virtual_key where group_id is not null") == 0


async def test_a_key_that_is_moved_brings_its_spending_and_takes_it_along(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool)
    group = await made(pool, by, customer_id, day_cap_cents=1, monthly_cap_cents=1)
    stays = await create_key(pool, customer_id, {"group_id": group.id}, pepper=PEPPER, **by)
    moves = await create_key(pool, customer_id, {}, pepper=PEPPER, **by)
    await spend(pool, moves.row.id, 6_000_000)
    await spend(pool, stays.row.id, 3_000_000)
    assert (await admit(pool, stays.row.id, most=7_000_000))[1].refused is None
    await change_key(pool, moves.row.id, {"group_id": group.id}, **by)
    _, verdict = await admit(pool, stays.row.id, most=1)
    assert (verdict.scope, verdict.bound_used, verdict.bound_held) == ("group", 9_000_000, 7_000_000)
    await change_group(pool, group.id, {"monthly_cap_cents": None}, **by)
    _, verdict = await admit(pool, stays.row.id, most=1)
    assert (verdict.scope, verdict.bound_used, verdict.bound_held) == ("group_day", 9_000_000, 7_000_000)
    await change_key(pool, moves.row.id, {"group_id": None}, **by)
    _, verdict = await admit(pool, stays.row.id, most=1)
    assert (verdict.scope, verdict.bound_used, verdict.bound_held) == ("group_day", 3_000_000, 7_000_000)


async def test_the_whole_chain_moves_and_a_rotated_key_stays_in_its_group(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool)
    group, other = await made(pool, by, customer_id), await made(pool, by, customer_id, name="other")
    old = await create_key(pool, customer_id, {"group_id": group.id, "tpm_limit": 5}, pepper=PEPPER, **by)
    new = await rotate_key(pool, old.row.id, pepper=PEPPER, **by)
    assert (new.row.group_id, new.row.tpm_limit) == (group.id, 5)
    await change_key(pool, new.row.id, {"group_id": other.id}, **by)
    assert {row["group_id"] for row in await pool.fetch("select group_id from kaixu.virtual_key")} == {other.id}


async def test_a_group_is_deleted_only_when_no_key_would_lose_its_limits(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool)
    group = await made(pool, by, customer_id, day_cap_cents=1)
    key = await create_key(pool, customer_id, {"group_id": group.id}, pepper=PEPPER, **by)
    await spend(pool, key.row.id, 5)
    with pytest.raises(Conflict) as refused:
        await delete_group(pool, group.id, **by)
    assert refused.value.code == "GROUP_IN_USE"
    await change_key(pool, key.row.id, {"revoked": True}, **by)
    await delete_group(pool, group.id, **by)
    assert await customer_groups(pool, customer_id) == []
    assert await pool.fetchval("select count(*) from kaixu.limit_use") == 0
    assert (await change_key(pool, key.row.id, {"revoked": False}, **by)).group_id is None
    with pytest.raises(NotFound):
        await delete_group(pool, group.id, **by)


async def test_a_key_made_while_its_group_is_deleted_is_in_it_or_not_made(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool)
    for _ in range(10):
        group = await made(pool, by, customer_id)
        outcomes = await asyncio.gather(
            create_key(pool, customer_id, {"group_id": group.id}, pepper=PEPPER, **by),
            delete_group(pool, group.id, **by),
            return_exceptions=True,
        )
        assert sorted(type(one).__name__ for one in outcomes) in (["Conflict", "MadeKey"], ["NoneType", "NotFound"])
        await pool.execute("delete from kaixu.virtual_key")
        await pool.execute("delete from kaixu.key_group")
