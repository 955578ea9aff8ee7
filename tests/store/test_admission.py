"""What admission decides, one limit at a time; the races are in test_money_properties and the end-to-end tests."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from kaixu.accounts.key_material import key_hash, legacy_hash
from kaixu.plugin.types import Usage
from tests.support.calls import admit, settle
from tests.support.money import customer, spent_and_held, virtual_key
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
