"""Admission, one limit at a time; races are in test_money_properties and the end-to-end tests."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from kaixu.accounts.key_material import key_hash, legacy_hash, other_hashes, pepper_id
from kaixu.accounts.sessions import session_owner
from kaixu.plugin.types import Usage
from kaixu.reports.own_key import Credential, find_own_key
from kaixu.store import admission, allowlists, collections, plans, readings
from tests.support.calls import OWNER, admit, asking, settle
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import SECRETS


@pytest.mark.parametrize(
    ("of_customer", "of_key", "refused"),
    [
        ({"is_active": False}, {}, "CUSTOMER_DISABLED"),
        ({"allowed_providers": ["other"]}, {}, "PROVIDER_NOT_ALLOWED"),
        ({}, {"allowed_providers": ["other"]}, "PROVIDER_NOT_ALLOWED"),
        ({"allowed_providers": ["other"]}, {"allowed_providers": ["*"]}, "PROVIDER_NOT_ALLOWED"),
        ({"allowed_models": {"up": ["n"]}}, {"allowed_models": {"*": ["*"]}}, "MODEL_NOT_ALLOWED"),
        ({"allowed_models": {}}, {}, "MODEL_NOT_ALLOWED"),
        ({"allowed_models": {"up": ["*"]}}, {"allowed_providers": []}, None),
        ({"require_install_id": True}, {"require_install_id": False}, "INSTALL_ID_REQUIRED"),
        ({}, {"require_install_id": True}, "INSTALL_ID_REQUIRED"),
        ({"max_devices_per_key": 1}, {}, None),
        ({}, {"rpm_limit": 0}, "RATE_LIMITED"),
        ({}, {"rpd_limit": 0}, "RATE_LIMITED"),
        ({"cap_nusd": 0}, {}, "CAP_REACHED"),
        ({"cap_nusd": 10**9 - 1}, {}, "CAP_REACHED"),
        ({}, {"monthly_cap_nusd": 10**9 - 1}, "CAP_REACHED"),
        ({}, {"monthly_cap_nusd": 10**9}, None),
    ],
)
async def test_a_call_is_refused_for_what_is_set(
    pool: asyncpg.Pool, of_customer: dict[str, Any], of_key: dict[str, Any], refused: str | None
) -> None:
    customer_id = await customer(pool, **of_customer)
    key_id, _ = await virtual_key(pool, customer_id, **of_key)
    _, verdict = await admit(pool, key_id)
    assert verdict.refused == refused
    held = 10**9 if refused is None else 0
    assert await spent_and_held(pool, customer_id) == (0, held)


async def test_an_unknown_key_is_unauthenticated(pool: asyncpg.Pool) -> None:
    _, verdict = await admit(pool, None, key_hash=b"no", legacy_hash=b"no")
    assert (verdict.refused, verdict.customer_id) == ("UNAUTHENTICATED", None)


async def test_a_key_of_the_older_edition_is_rehashed_on_its_first_use(pool: asyncpg.Pool) -> None:
    key_id, key = await virtual_key(pool, await customer(pool))
    await pool.execute("update kaixu.virtual_key set key_hash = $2 where id = $1", key_id, legacy_hash(key))
    peppered = key_hash(SECRETS["KEY_PEPPER"], key)
    _, verdict = await admit(pool, None, key_hash=peppered, legacy_hash=legacy_hash(key))
    assert (verdict.refused, verdict.key_id) == (None, key_id)
    assert await pool.fetchval("select key_hash from kaixu.virtual_key where id = $1", key_id) == peppered


async def test_a_call_gets_what_room_there_is_down_to_its_least(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, cap_nusd=100)
    key_id, _ = await virtual_key(pool, customer_id)
    _, verdict = await admit(pool, key_id, most=1000, least=100)
    assert verdict.granted_nusd == 100
    _, second = await admit(pool, key_id, most=1, least=1)
    assert (second.refused, second.scope) == ("CAP_REACHED", "customer")


async def test_settling_twice_bills_once(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    ask, verdict = await admit(pool, key_id)
    usage = Usage(input_tokens=3, output_tokens=2)
    first = await settle(pool, ask, verdict, usage, cost=77)
    again = await settle(pool, ask, verdict, usage, cost=77)
    assert (first.first_time, again.first_time) == (True, False)
    assert await spent_and_held(pool, customer_id) == (77, 0)


async def test_a_refused_call_counts_nowhere(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool, cap_nusd=0), rpm_limit=1)
    for _ in range(3):
        _, verdict = await admit(pool, key_id, install_id="device")
        assert verdict.refused == "CAP_REACHED"
    assert await pool.fetchval("select count(*) from kaixu.device") == 0
    assert await pool.fetchval("select count(*) from kaixu.rate_window") == 0


OTHER_PEPPER = "another-pepper-0123456789"


def hashes_under(key: str, *peppers: str) -> dict[str, Any]:
    """What a gateway with these peppers, the present one first, looks for."""
    return {"key_hash": key_hash(peppers[0], key), "legacy_hash": other_hashes(peppers, key)}


@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "in a group"])
async def test_a_key_under_the_other_pepper_is_moved_by_the_first_call_that_is_admitted(
    pool: asyncpg.Pool, is_alone: bool
) -> None:
    customer_id = await customer(pool, cap_nusd=3 * 10**9)
    old, new = SECRETS["KEY_PEPPER"], OTHER_PEPPER
    key_id, key = await virtual_key(pool, customer_id, monthly_cap_nusd=2 * 10**9)
    other_key_id, other_key = await virtual_key(pool, customer_id)

    async def call(key: str, *peppers: str, most: int = 10**9) -> tuple[str | None, int | None]:
        """What is decided; in a group with a call of nobody's key, if not alone."""
        asks = [asking(None, most=most, **hashes_under(key, *peppers))]
        if not is_alone:
            asks.append(asking(None, key_hash=b"no", legacy_hash=b"no"))
        verdict, *_ = await admission.admit(pool, asks, owner=OWNER, lifetime_s=60, default_rpm=10**6)
        return verdict.refused, verdict.key_id

    async def stored() -> tuple[bytes, bytes | None]:
        """The hash of the key and the id of its pepper."""
        row = await pool.fetchrow("select key_hash, pepper_id from kaixu.virtual_key where id = $1", key_id)
        assert row is not None
        return row["key_hash"], row["pepper_id"]

    under_old, under_new = (key_hash(old, key), pepper_id(old)), (key_hash(new, key), pepper_id(new))
    # Step 1: all have both, and store under the old one.
    assert await call(key, old, new) == (None, key_id)
    assert await stored() == (under_old[0], None)
    # Step 2: a refused call moves nothing; one that is admitted does, and the cap knows what was held before.
    assert await call(key, new, old, most=10**9 + 1) == ("CAP_REACHED", key_id)
    assert await stored() == (under_old[0], None)
    assert await call(key, new, old) == (None, key_id)
    assert await stored() == under_new
    # One that has not been restarted since step 1 finds it, and so do others again.
    assert await call(key, old, new, most=0) == (None, key_id)
    assert await stored() == under_old
    assert await call(key, new, old, most=0) == (None, key_id)
    assert await call(key, new, old) == ("CAP_REACHED", key_id)
    # Step 4: the old one is not known any more.
    assert await call(key, new, most=0) == (None, key_id)
    assert await call(other_key, new) == ("UNAUTHENTICATED", None)
    assert await spent_and_held(pool, customer_id) == (0, 2 * 10**9)
    # A key that is stored as its plain hash is found while a pepper is replaced, too.
    await pool.execute("update kaixu.virtual_key set key_hash = $2 where id = $1", other_key_id, legacy_hash(other_key))
    assert await call(other_key, new, old) == (None, other_key_id)
    assert await call(other_key, new, most=0) == (None, other_key_id)


async def test_a_revoked_key_stays_revoked_and_stays_where_it_is(pool: asyncpg.Pool) -> None:
    key_id, key = await virtual_key(pool, await customer(pool))
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", key_id)
    for _ in range(2):
        _, verdict = await admit(pool, None, **hashes_under(key, OTHER_PEPPER, SECRETS["KEY_PEPPER"]))
        assert (verdict.refused, verdict.key_id) == ("KEY_REVOKED", key_id)
    stored = await pool.fetchval("select key_hash from kaixu.virtual_key where id = $1", key_id)
    assert stored == key_hash(SECRETS["KEY_PEPPER"], key)


async def test_calls_at_once_with_the_peppers_in_either_order_keep_to_the_cap(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id, monthly_cap_nusd=7 * 10**9)
    old, new = SECRETS["KEY_PEPPER"], OTHER_PEPPER
    done = await asyncio.gather(
        *(admit(pool, None, **hashes_under(key, *((old, new) if at % 2 else (new, old)))) for at in range(20))
    )
    assert {verdict.key_id for _, verdict in done} == {key_id}
    assert sorted(verdict.refused or "" for _, verdict in done) == [""] * 7 + ["CAP_REACHED"] * 13
    assert await spent_and_held(pool, customer_id) == (0, 7 * 10**9)
    await assert_books_balance(pool, reservations=7)


async def test_every_statement_that_finds_a_key_knows_all_its_hashes(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id)
    peppers = (OTHER_PEPPER, SECRETS["KEY_PEPPER"])
    both = hashes_under(key, *peppers)
    await pool.execute(
        """
        insert into kaixu.collection (customer_id, name, provider, model, dimensions, language)
        values ($1, 'notes', 'p', 'm', 2, 'simple')
        """,
        customer_id,
    )
    for stored in (key_hash(peppers[1], key), legacy_hash(key), key_hash(peppers[0], key)):
        await pool.execute("update kaixu.virtual_key set key_hash = $2 where id = $1", key_id, stored)
        assert (await session_owner(pool, key, peppers=peppers)).key_id == key_id
        assert (await find_own_key(pool, Credential(both["key_hash"], both["legacy_hash"], None))).key_id == key_id
        assert await readings.owner_of(pool, **both, key_id=None) == customer_id
        taken = await readings.take_reading_rate(pool, **both, key_id=None, units=1, per_minute=1000, default_rpm=1000)
        assert (taken.refused, taken.key_id) == (None, key_id)
        models = await allowlists.allowed(pool, **both, key_id=None, models=[("up", "m")])
        assert models is not None
        assert await collections.collection_of_key(pool, **both, key_id=None, name="notes") is not None
        await pool.execute("update kaixu.customer set price_factor_millionths = 2000000 where id = $1", customer_id)
        assert await plans.factors(pool, [(None, both["key_hash"], both["legacy_hash"])]) == [2_000_000]
        async with pool.acquire() as holder, holder.transaction():
            await holder.execute("select from kaixu.customer where id = $1 for update", customer_id)
            assert await admission.locked_asks(pool, [asking(None, **both)]) == {0}
