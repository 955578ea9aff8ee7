"""The cap of one end user: set, changed, removed, audited."""

from __future__ import annotations

import asyncpg
import pytest

from kaixu.accounts.end_users import end_user_name, set_end_user_cap
from kaixu.plugin.errors import Invalid, NotFound, Unprocessable
from tests.support.calls import admit
from tests.support.money import customer, virtual_key

from .conftest import By


async def test_a_cap_holds_from_the_next_call_until_it_is_removed(pool: asyncpg.Pool, by: By) -> None:
    customer_id = await customer(pool, end_user_cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    await admit(pool, key_id, most=100, end_user="ada")

    row = await set_end_user_cap(pool, customer_id, "ada", 150, **by)
    assert (row.monthly_cap_nusd, row.calls, row.spent_nusd, row.held_nusd) == (150, 0, 0, 100)
    assert (await admit(pool, key_id, most=100, end_user="ada"))[1].scope == "end_user"
    assert (await admit(pool, key_id, most=100, end_user="bob"))[1].refused is None
    assert (await set_end_user_cap(pool, customer_id, "ada", 150, **by)).monthly_cap_nusd == 150
    assert (await set_end_user_cap(pool, customer_id, "ada", None, **by)).monthly_cap_nusd is None
    assert (await admit(pool, key_id, most=100, end_user="ada"))[1].end_user_cap_nusd == 1000

    log = await pool.fetch("select before, after from kaixu.audit_event where action = 'END_USER_CAP' order by id")
    caps = [(entry["before"]["monthly_cap_nusd"], entry["after"]["monthly_cap_nusd"]) for entry in log]
    assert caps == [(None, 150), (150, None)]


async def test_an_unknown_customer_has_no_end_users(pool: asyncpg.Pool, by: By) -> None:
    with pytest.raises(NotFound, match="no customer 9"):
        await set_end_user_cap(pool, 9, "ada", 1, **by)


@pytest.mark.parametrize(
    ("name", "error"),
    [(None, Invalid), ("", Invalid), ("  ", Unprocessable), ("x" * 201, Unprocessable), ("a\x07b", Unprocessable), (7, Unprocessable)],
)  # fmt: skip
def test_a_name_that_no_call_can_have_is_refused(name: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="end_user"):
        end_user_name(name, "end_user")
