"""Keys: shown once, rotated with all they have spent, revoked from the next call on."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from kaixu.accounts.key_list import key_page
from kaixu.accounts.key_material import is_key_shaped, key_hash
from kaixu.accounts.keys import MadeKey, change_key, create_key, find_key, rotate_key
from kaixu.plugin.errors import Conflict, Invalid, KaixuError, NotFound, Unprocessable
from kaixu.plugin.types import Usage
from tests.support.calls import admit, billed
from tests.support.money import customer

from .conftest import By

PEPPER = "pepper"


async def made(pool: asyncpg.Pool, by: By, **given: object) -> MadeKey:
    """A key of a new customer."""
    return await create_key(pool, await customer(pool), given, pepper=PEPPER, **by)


async def test_a_new_key_works_and_only_its_hash_is_stored(pool: asyncpg.Pool, by: By) -> None:
    key = await made(pool, by, label="master", role="owner")
    assert is_key_shaped(key.key)
    assert (key.row.label, key.row.role, key.row.key_last4) == ("master", "owner", key.key[-4:])
    _, verdict = await admit(pool, None, key_hash=key_hash(PEPPER, key.key), legacy_hash=b"")
    assert (verdict.refused, verdict.key_id) == (None, key.row.id)
    for table in ("virtual_key", "audit_event"):
        written = await pool.fetchval(f"select string_agg(t::text, ' ') from kaixu.{table} t")
        assert key.key not in written
        assert key_hash(PEPPER, key.key).hex() not in written or table == "virtual_key"


async def test_a_key_needs_a_customer(pool: asyncpg.Pool, by: By) -> None:
    with pytest.raises(NotFound):
        await create_key(pool, 99, {}, pepper=PEPPER, **by)
    assert await pool.fetchval("select count(*) from kaixu.audit_event") == 0


@pytest.mark.parametrize(
    "given",
    [
        {"role": "root"},
        {"label": "l" * 61},
        {"rpm_limit": -1},
        {"max_devices": "many"},
        {"allowed_models": "{"},
        {"allowed_collections": 1},
    ],
)
async def test_an_invalid_key_is_not_created(pool: asyncpg.Pool, by: By, given: dict[str, object]) -> None:
    with pytest.raises(Unprocessable):
        await made(pool, by, **given)


async def test_a_change_sets_and_clears_what_is_given(pool: asyncpg.Pool, by: By) -> None:
    key = await made(pool, by, rpm_limit=5, rpd_limit=6, require_install_id=True)
    after = await change_key(
        pool, key.row.id, {"rpm_limit": None, "require_install_id": None, "monthly_cap_cents": 50, "label": ""}, **by
    )
    assert (after.rpm_limit, after.rpd_limit, after.require_install_id) == (None, 6, None)
    assert (after.monthly_cap_nusd, after.label) == (500_000_000, "subkey")


async def test_the_collections_of_a_key_are_normalized_and_audited(pool: asyncpg.Pool, by: By) -> None:
    key = await made(pool, by, allowed_collections="My docs, wiki")
    assert key.row.allowed_collections == ["My-docs", "wiki"]
    for given, kept in (([], []), (["wiki", "wiki"], ["wiki"]), (None, None)):
        after = await change_key(pool, key.row.id, {"allowed_collections": given}, **by)
        assert after.allowed_collections == kept
    rows = await pool.fetch("select meta, after -> 'allowed_collections' from kaixu.audit_event order by id")
    changed = {"fields": ["allowed_collections"]}
    assert [tuple(row) for row in rows] == [
        ({}, ["My-docs", "wiki"]),
        (changed, []),
        (changed, ["wiki"]),
        (changed, None),
    ]


async def test_a_role_stays_what_it_was(pool: asyncpg.Pool, by: By) -> None:
    key = await made(pool, by, role="viewer")
    for given in ({"role": "owner"}, {"role": "owner", "label": "x"}):
        with pytest.raises(Invalid, match="`role` cannot be changed"):
            await change_key(pool, key.row.id, given, **by)
    after = await change_key(pool, key.row.id, {"role": "viewer", "label": "x"}, **by)
    assert (after.role, after.label) == ("viewer", "x")


async def test_a_revoked_key_is_refused_from_the_next_call_until_it_is_restored(pool: asyncpg.Pool, by: By) -> None:
    key = await made(pool, by)
    first = await change_key(pool, key.row.id, {"revoked": True}, **by)
    assert (await admit(pool, key.row.id))[1].refused == "KEY_REVOKED"
    again = await change_key(pool, key.row.id, {"revoked": True}, **by)
    assert again.revoked_at == first.revoked_at is not None
    assert (await change_key(pool, key.row.id, {"revoked": False}, **by)).revoked_at is None
    assert (await admit(pool, key.row.id))[1].refused is None
    actions = await pool.fetch("select action from kaixu.audit_event order by id")
    assert [row[0] for row in actions] == ["KEY_CREATE", "KEY_REVOKE", "KEY_UNREVOKE"]


async def test_rotation_keeps_settings_role_and_spend(pool: asyncpg.Pool, by: By) -> None:
    old = await made(
        pool,
        by,
        role="admin",
        label="mine",
        monthly_cap_cents=100,
        rpm_limit=7,
        max_devices=1,
        allowed_collections=["docs"],
    )
    await billed(pool, old.row.id, Usage(), cost=999_999_999, install_id="device")
    new = await rotate_key(pool, old.row.id, pepper=PEPPER, **by)
    assert (new.row.chain_id, new.row.role, new.row.label) == (old.row.chain_id, "admin", "mine")
    assert (new.row.monthly_cap_nusd, new.row.rpm_limit, new.row.max_devices) == (1_000_000_000, 7, 1)
    assert new.row.allowed_collections == ["docs"]
    assert (await admit(pool, old.row.id, most=1))[1].refused == "KEY_REVOKED"
    assert (await admit(pool, new.row.id, most=2, install_id="device"))[1].refused == "CAP_REACHED"
    assert (await admit(pool, new.row.id, most=1, install_id="other"))[1].refused == "SEATS_FULL"
    assert (await admit(pool, new.row.id, most=1, install_id="device"))[1].refused is None
    listed = (await key_page(pool, new.row.customer_id, {"limit": 10})).keys
    assert [(row.id, row.spent_nusd) for row in listed] == [(new.row.id, 999_999_999), (old.row.id, 999_999_999)]


async def test_a_revoked_key_is_not_rotated(pool: asyncpg.Pool, by: By) -> None:
    key = await made(pool, by)
    await change_key(pool, key.row.id, {"revoked": True}, **by)
    with pytest.raises(Conflict):
        await rotate_key(pool, key.row.id, pepper=PEPPER, **by)
    with pytest.raises(NotFound):
        await rotate_key(pool, 99, pepper=PEPPER, **by)


async def test_a_rotated_key_cannot_be_restored_beside_its_successor(pool: asyncpg.Pool, by: By) -> None:
    old = await made(pool, by)
    new = await rotate_key(pool, old.row.id, pepper=PEPPER, **by)
    with pytest.raises(Conflict):
        await change_key(pool, old.row.id, {"revoked": False}, **by)
    await change_key(pool, new.row.id, {"revoked": True}, **by)
    assert (await change_key(pool, new.row.id, {"revoked": False}, **by)).revoked_at is None


async def test_a_key_that_is_rotated_twice_at_once_has_one_successor(pool: asyncpg.Pool, by: By) -> None:
    key = await made(pool, by)
    answers = await asyncio.gather(
        *(rotate_key(pool, key.row.id, pepper=PEPPER, **by) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(answer, MadeKey) for answer in answers) == 1
    assert all(isinstance(answer, MadeKey | KaixuError) for answer in answers)
    assert await pool.fetchval("select count(*) from kaixu.virtual_key where revoked_at is null") == 1


async def test_a_rotated_key_goes_on_for_its_overlap_and_no_longer(pool: asyncpg.Pool, by: By) -> None:
    old = await made(pool, by, tpm_limit=100)
    new = await rotate_key(pool, old.row.id, pepper=PEPPER, overlap_s=60, **by)
    assert (await admit(pool, old.row.id, most_tokens=60))[1].refused is None
    assert (await admit(pool, new.row.id, most_tokens=60))[1].scope == "key_tokens"  # one chain
    with pytest.raises(Conflict, match="was rotated before"):
        await rotate_key(pool, old.row.id, pepper=PEPPER, **by)
    for later in (None, "2090-01-01T00:00:00Z"):
        with pytest.raises(Conflict, match="cannot live longer"):
            await change_key(pool, old.row.id, {"expires_at": later}, **by)
    await change_key(pool, old.row.id, {"label": "still"}, **by)
    await pool.execute("update kaixu.virtual_key set expires_at = now() where id = $1", old.row.id)
    assert (await admit(pool, old.row.id))[1].refused == "KEY_EXPIRED"
    assert (await admit(pool, new.row.id, most_tokens=1))[1].refused is None


async def test_while_keys_overlap_a_limit_is_changed_for_both(pool: asyncpg.Pool, by: By) -> None:
    old = await made(pool, by, monthly_cap_cents=1000)
    new = await rotate_key(pool, old.row.id, pepper=PEPPER, overlap_s=60, **by)
    lower = {"monthly_cap_cents": 0, "rpm_limit": 3, "allowed_providers": ["p"], "label": "the new one"}
    changed = await change_key(pool, new.row.id, lower, **by)
    before = await find_key(pool, old.row.id)
    assert (before.monthly_cap_nusd, before.rpm_limit, before.allowed_providers) == (0, 3, ["p"])
    assert (before.label, changed.label) == (old.row.label, "the new one")
    assert before.expires_at is not None
    assert changed.expires_at is None
    for key_id in (old.row.id, new.row.id):
        assert (await admit(pool, key_id, provider="p"))[1].scope == "key"
    rows = await pool.fetch("select target from kaixu.audit_event where action = 'KEY_UPDATE' order by id")
    assert [row["target"] for row in rows] == [f"key:{new.row.id}", f"key:{old.row.id}"]
    await change_key(pool, old.row.id, {"monthly_cap_cents": 5}, **by)
    assert (await find_key(pool, new.row.id)).monthly_cap_nusd == 50_000_000
    await pool.execute("update kaixu.virtual_key set expires_at = now() where id = $1", old.row.id)
    await change_key(pool, new.row.id, {"monthly_cap_cents": 9}, **by)
    assert (await find_key(pool, old.row.id)).monthly_cap_nusd == 50_000_000, "what is over stays as it was"
    await change_key(pool, old.row.id, {"monthly_cap_cents": 1}, **by)
    assert (await find_key(pool, new.row.id)).monthly_cap_nusd == 90_000_000, "and changes nothing else"


async def test_an_overlap_ends_no_later_than_the_key_itself(pool: asyncpg.Pool, by: By) -> None:
    old = await made(pool, by, expires_at="2090-01-01T00:00:00Z")
    new = await rotate_key(pool, old.row.id, pepper=PEPPER, overlap_s=60, **by)
    assert new.row.expires_at == old.row.expires_at
    ends_at = await pool.fetchval("select expires_at from kaixu.virtual_key where id = $1", old.row.id)
    assert ends_at < old.row.expires_at


async def test_a_rotation_that_is_asked_for_again_makes_no_second_key(pool: asyncpg.Pool, by: By) -> None:
    old = await made(pool, by)
    outcomes = await asyncio.gather(
        *(rotate_key(pool, old.row.id, pepper=PEPPER, idempotency_key="once", **by) for _ in range(5))
    )
    assert sorted((one.applied, bool(one.key)) for one in outcomes) == [(False, False)] * 4 + [(True, True)]
    assert len({one.row.id for one in outcomes}) == 1
    with pytest.raises(Conflict):
        await rotate_key(pool, old.row.id, pepper=PEPPER, idempotency_key="another", **by)
    assert await pool.fetchval("select count(*) from kaixu.virtual_key") == 2
