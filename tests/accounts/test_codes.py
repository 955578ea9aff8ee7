"""Redemption codes: made once, stored as hashes, credited once, and hard to guess."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from kaixu.accounts.code_material import ALPHABET, new_code, normal_code
from kaixu.accounts.codes import create_codes, list_batches, revoke_codes, show_batch
from kaixu.accounts.redemption import PER_CUSTOMER, PER_NETWORK, Credit, redeem
from kaixu.accounts.topups import MOST_EXTRA_NUSD
from kaixu.config.invoices_section import InvoicesSection
from kaixu.invoices.views import show_month
from kaixu.plugin.errors import (
    Conflict,
    CustomerDisabled,
    Invalid,
    KaixuError,
    NotFound,
    RateLimited,
    RoleTooLow,
    Unauthenticated,
    Unprocessable,
)
from tests.support.calls import admit
from tests.support.money import customer, virtual_key

from .conftest import By

PEPPER = "p"
FAR = f"{datetime.now(UTC).year + 2}-01-01"


async def made(pool: asyncpg.Pool, by: By, **fields: Any) -> list[str]:
    """Codes for 5 USD."""
    batch = await create_codes(pool, {"amount_cents": 500, "expires_at": FAR} | fields, pepper=PEPPER, **by)
    assert batch.codes is not None
    return batch.codes


async def credited(pool: asyncpg.Pool, key_id: int, code: object, address: str = "192.0.2.1") -> Credit:
    """A code redeemed with a key."""
    return await redeem(
        pool, key_id=key_id, key_last4="last", code=code, address=address, peppers=[PEPPER], request_id="request-1"
    )


async def owner(pool: asyncpg.Pool, **fields: Any) -> tuple[int, int]:
    """A customer and a key that may redeem."""
    customer_id = await customer(pool, **fields)
    return customer_id, (await virtual_key(pool, customer_id, role="owner"))[0]


async def refused(pool: asyncpg.Pool, key_id: int, code: object, address: str = "192.0.2.1") -> str:
    """The code of the refusal."""
    with pytest.raises(KaixuError) as caught:
        await credited(pool, key_id, code, address)
    return caught.value.code


async def test_a_code_credits_this_month_once_and_its_customer_may_ask_again(pool: asyncpg.Pool, by: By) -> None:
    customer_id, key_id = await owner(pool)
    [code] = await made(pool, by)
    first = await credited(pool, key_id, code)
    again = await credited(pool, key_id, code.lower().replace("-", " "))
    assert (first.topped_up.applied, again.topped_up.applied) == (True, False)
    assert first.topped_up.extra_nusd == again.topped_up.extra_nusd == 5 * 10**9
    assert first.topped_up.month == again.topped_up.month == datetime.now(UTC).date().replace(day=1)
    rows = await pool.fetch("select customer_id, amount_nusd, source from kaixu.topup")
    assert [tuple(row) for row in rows] == [(customer_id, 5 * 10**9, "code")]
    audit = await pool.fetch("select actor, action, target from kaixu.audit_event order by id")
    assert [tuple(row) for row in audit][1:] == [("key:last", "TOPUP_CODE", f"customer:{customer_id}")]
    assert await refused(pool, (await owner(pool))[1], code) == "CODE_USED"


async def test_a_code_is_a_payment_on_the_invoice_and_raises_the_cap(pool: asyncpg.Pool, by: By) -> None:
    customer_id, key_id = await owner(pool, cap_nusd=0)
    assert (await admit(pool, key_id, most=5 * 10**9))[1].refused == "CAP_REACHED"
    [code] = await made(pool, by)
    await credited(pool, key_id, code)
    assert (await admit(pool, key_id, most=5 * 10**9))[1].refused is None
    draft = await show_month(pool, InvoicesSection(), customer_id, None)
    assert [(one["source"], one["amount_cents"]) for one in draft.snapshot["topups"]] == [("code", 500)]


async def test_only_a_hash_is_stored(pool: asyncpg.Pool, by: By) -> None:
    [code] = await made(pool, by)
    plain = normal_code(code)
    assert plain is not None
    for table in ("code_batch", "redemption_code", "audit_event"):
        text = str(await pool.fetch(f"select t::text from kaixu.{table} t"))
        assert code not in text
        assert plain not in text


async def test_what_cannot_be_redeemed_says_why(pool: asyncpg.Pool, by: By) -> None:
    _, key_id = await owner(pool, plan_name="starter")
    [expired], [revoked] = await made(pool, by), await made(pool, by)
    await pool.execute("update kaixu.code_batch set expires_at = now() - interval '1 s' where id = 1")
    assert len(await revoke_codes(pool, batch_id=2, code_id=None, **by)) == 1
    [domain], [plan] = await made(pool, by, email_domain="@Other.example"), await made(pool, by, plan_name="pro")
    codes = [await refused(pool, key_id, one) for one in (expired, revoked, domain, plan)]
    assert codes == ["CODE_EXPIRED", "CODE_REVOKED", "CODE_NOT_FOR_ACCOUNT", "CODE_NOT_FOR_ACCOUNT"]
    assert await pool.fetchval("select count(*) from kaixu.topup") == 0
    [own], [starter] = await made(pool, by, email_domain="example.com"), await made(pool, by, plan_name="starter")
    assert (await credited(pool, key_id, own)).topped_up.applied
    assert (await credited(pool, key_id, starter)).topped_up.extra_nusd == 10**10


@pytest.mark.parametrize("role", ["viewer", "deployer"])
async def test_a_code_is_money_and_needs_a_role(pool: asyncpg.Pool, by: By, role: str) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool), role=role)
    [code] = await made(pool, by)
    with pytest.raises(RoleTooLow):
        await credited(pool, key_id, code)


async def test_a_revoked_key_and_a_disabled_customer_redeem_nothing(pool: asyncpg.Pool, by: By) -> None:
    customer_id, key_id = await owner(pool)
    [code] = await made(pool, by)
    await pool.execute("update kaixu.customer set is_active = false")
    with pytest.raises(CustomerDisabled):
        await credited(pool, key_id, code)
    await pool.execute("update kaixu.customer set is_active = true")
    await pool.execute("update kaixu.virtual_key set revoked_at = now()")
    for key in (key_id, 99):
        with pytest.raises(Unauthenticated):
            await credited(pool, key, code)
    assert await pool.fetchval("select count(*) from kaixu.topup where customer_id = $1", customer_id) == 0


async def test_guessing_is_limited_for_a_customer_whatever_its_key_and_address(pool: asyncpg.Pool, by: By) -> None:
    customer_id, key_id = await owner(pool)
    other_key, _ = await virtual_key(pool, customer_id, role="admin")
    for at in range(PER_CUSTOMER):
        assert await refused(pool, (key_id, other_key)[at % 2], new_code(), f"192.0.2.{at}") == "UNKNOWN_CODE"
    [code] = await made(pool, by)
    with pytest.raises(RateLimited) as caught:
        await credited(pool, key_id, code)
    assert 3500 < (caught.value.retry_after_s or 0) <= 3600
    assert await pool.fetchval("select count(*) from kaixu.topup") == 0
    assert (await credited(pool, (await owner(pool))[1], code)).topped_up.applied, "others are not limited"
    await pool.execute(
        "update kaixu.redemption_try set tried_at = array(select t - interval '1 hour' from unnest(tried_at) t)"
    )
    [code] = await made(pool, by)
    assert (await credited(pool, key_id, code)).topped_up.applied


async def test_a_key_that_has_expired_redeems_nothing(pool: asyncpg.Pool, by: By) -> None:
    _, key_id = await owner(pool)
    [code] = await made(pool, by)
    await pool.execute("update kaixu.virtual_key set expires_at = now()")
    assert await refused(pool, key_id, code) == "KEY_EXPIRED"


async def test_guessing_is_limited_for_a_network_whatever_the_customer(pool: asyncpg.Pool, by: By) -> None:
    keys = [(await owner(pool))[1] for _ in range(4)]
    for at in range(PER_NETWORK):
        assert await refused(pool, keys[at % 4], new_code(), f"2001:db8:0:1::{at:x}") == "UNKNOWN_CODE"
    [code] = await made(pool, by)
    assert await refused(pool, (await owner(pool))[1], code, "2001:db8:0:1:ffff::1") == "RATE_LIMITED"
    assert (await credited(pool, keys[0], code, "2001:db8:0:2::1")).topped_up.applied


@pytest.mark.parametrize("code", ["", None, 5, "x" * 300, "KX-", "KX-AAAAA-AAAAA-AAAAA-AAAAA-AAAA!", ["a"], "ü" * 25])
async def test_what_is_no_code_is_refused_before_any_query(pool: asyncpg.Pool, code: object) -> None:
    _, key_id = await owner(pool)
    with pytest.raises(Invalid):
        await credited(pool, key_id, code)
    assert await pool.fetchval("select count(*) from kaixu.redemption_try") == 0


async def test_a_month_s_topups_have_a_bound_and_the_code_stays_unused(pool: asyncpg.Pool, by: By) -> None:
    customer_id, key_id = await owner(pool)
    await pool.execute(
        "insert into kaixu.customer_month (customer_id, month, extra_nusd)"
        " values ($1, date_trunc('month', now() at time zone 'UTC')::date, $2)",
        customer_id,
        MOST_EXTRA_NUSD,
    )
    [code] = await made(pool, by)
    with pytest.raises(Unprocessable, match="at most"):
        await credited(pool, key_id, code)
    assert await pool.fetchval("select redeemed_at from kaixu.redemption_code") is None


async def test_a_batch_is_made_once_for_each_idempotency_key(pool: asyncpg.Pool, by: By) -> None:
    given = {"amount_cents": 500, "expires_at": FAR, "count": 3, "idempotency_key": "batch 1"}
    first = await create_codes(pool, given, pepper=PEPPER, **by)
    again = await create_codes(pool, given, pepper=PEPPER, **by)
    assert first.codes is not None
    assert len(set(first.codes)) == 3
    assert (again.codes, again.batch.id) == (None, first.batch.id)
    with pytest.raises(Conflict):
        await create_codes(pool, given | {"count": 4}, pepper=PEPPER, **by)
    assert await pool.fetchval("select count(*) from kaixu.redemption_code") == 3
    assert [batch.id for batch in await list_batches(pool, {})] == [first.batch.id]
    page = await show_batch(pool, first.batch.id, {"limit": 2})
    assert (len(page.codes), page.next_after_id) == (2, page.codes[-1].id)
    assert len((await show_batch(pool, first.batch.id, {"after_id": page.next_after_id})).codes) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_cents": 0},
        {"amount_cents": None},
        {"amount_cents": 10**12},
        {"expires_at": None},
        {"expires_at": "2020-01-01"},
        {"expires_at": "tomorrow"},
        {"expires_at": "2099-01-01"},
        {"count": 0},
        {"count": 10_001},
        {"count": "many"},
        {"email_domain": "no domain"},
        {"email_domain": "ada@example.com"},
        {"note": "x" * 201},
        {"plan_name": "x" * 41},
        {"amount": 5},
    ],
    ids=str,
)
async def test_a_batch_that_makes_no_sense_is_refused(pool: asyncpg.Pool, by: By, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        await made(pool, by, **wrong)
    assert await pool.fetchval("select count(*) from kaixu.code_batch") == 0


async def test_a_day_means_its_end(pool: asyncpg.Pool, by: By) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    await made(pool, by, expires_at=today)
    [batch] = await list_batches(pool, {})
    assert batch.expires_at == datetime.fromisoformat(today).replace(tzinfo=UTC) + timedelta(days=1)


async def test_what_is_redeemed_is_not_revoked(pool: asyncpg.Pool, by: By) -> None:
    _, key_id = await owner(pool)
    one, other = await made(pool, by, count=2)
    await credited(pool, key_id, one)
    with pytest.raises(Conflict, match="is redeemed"):
        await revoke_codes(pool, batch_id=None, code_id=1, **by)
    assert [row.id for row in await revoke_codes(pool, batch_id=1, code_id=None, **by)] == [2]
    assert await revoke_codes(pool, batch_id=None, code_id=2, **by) == []
    assert await refused(pool, key_id, other) == "CODE_REVOKED"
    [batch] = await list_batches(pool, {})
    assert (batch.redeemed, batch.revoked) == (1, 1)
    for ids in ((99, None), (None, 99)):
        with pytest.raises(NotFound):
            await revoke_codes(pool, batch_id=ids[0], code_id=ids[1], **by)
    for both in (1, None):
        with pytest.raises(Invalid):
            await revoke_codes(pool, batch_id=both, code_id=both, **by)


def test_a_code_is_read_however_people_type_it() -> None:
    code = new_code()
    plain = normal_code(code)
    assert plain is not None
    assert (len(code), len(plain), set(plain) <= set(ALPHABET)) == (32, 25, True)
    for written in (code.lower(), code.replace("-", ""), code.removeprefix("KX-"), f"  {code} "):
        assert normal_code(written) == plain
    typed = code.replace("0", "o").replace("1", "l")
    assert normal_code(typed) == plain


async def test_while_the_pepper_is_replaced_codes_under_either_one_are_redeemed(pool: asyncpg.Pool, by: By) -> None:
    customer_id, key_id = await owner(pool)

    async def credited_with(code: str, *peppers: str) -> bool:
        """Whether a gateway with these peppers credits a code."""
        credit = await redeem(
            pool, key_id=key_id, key_last4="last", code=code, address="192.0.2.1", peppers=peppers, request_id="r"
        )
        return credit.topped_up.applied

    first, second, third = await made(pool, by, count=3)
    assert await credited_with(first, "new", PEPPER)
    assert await credited_with(second, PEPPER, "new")
    assert not await credited_with(first, "new", PEPPER)
    # One that does not exist is one try, whichever pepper it would have.
    for _ in range(PER_CUSTOMER):
        with pytest.raises(NotFound):
            await credited_with(new_code(), "new", PEPPER)
    with pytest.raises(RateLimited):
        await credited_with(third, "new", PEPPER)
    assert await pool.fetchval("select sum(amount_nusd) from kaixu.topup where customer_id = $1", customer_id) == 10**10
