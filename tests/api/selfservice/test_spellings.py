"""One address in many spellings: one account, one limit, and nobody else's."""

from __future__ import annotations

import asyncpg
import pytest

from tests.api.admin.conftest import Operator

from .conftest import Visitor, a_customer, live_keys


async def test_a_mailbox_gets_one_account_by_links_of_several_spellings(visitor: Visitor) -> None:
    visitor.mode("email")
    for email in ("ada@example.com", "ada+1@example.com", "ada+2@example.com"):
        await visitor.ask(email)
    first, second, third = await visitor.mailed()
    await visitor.key_of(second)
    for token in (first, third):
        status, text = await visitor.press(token)
        assert (status, "another spelling of this address" in text) == (409, True)


SPELLINGS = [
    "ada@example.com",
    "ADA@EXAMPLE.COM",
    "  ada@Example.com\t",
    "ａｄａ@example.com",
    "ada@ｅｘａｍｐｌｅ.com",
    "ada+a@example.com",
    "ada+b+c@example.com",
    "ADA+@example.com",
]


async def test_another_spelling_is_the_same_address(visitor: Visitor, pool: asyncpg.Pool) -> None:
    visitor.mode("open", per_address=100, per_address_a_day=100, per_network=100)
    statuses = [(await visitor.ask(email))[0] for email in SPELLINGS]
    assert statuses == [200] + [409] * (len(SPELLINGS) - 1)
    assert await pool.fetchval("select count(*) from kaixu.customer") == 1
    for _ in range(2):
        await visitor.mailed()
    # Whatever the spelling, the link goes to the account's own address.
    assert set(visitor.mailbox.recipients) == {"ada@example.com"}


async def test_the_limit_counts_all_spellings_together(visitor: Visitor) -> None:
    assert [(await visitor.ask(email))[0] for email in SPELLINGS] == [200, 409, 409, 409, 409, 429, 429, 429]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("jose\u0301@example.com", "jos\u00e9@example.com"),
        ("ada@b\u00fccher.example", "ada@xn--bcher-kva.example"),
        ("ada@B\u00dcCHER.example", "ada@b\u00fccher.example"),
        ("a.d.a@gmail.com", "ada@googlemail.com"),
    ],
    ids=["accent", "international domain", "its case", "Gmail"],
)
async def test_spellings_beyond_ascii(visitor: Visitor, pool: asyncpg.Pool, first: str, second: str) -> None:
    assert [(await visitor.ask(one))[0] for one in (first, second, first)] == [200, 409, 409]


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("ada@b\u00fccher.example", "ada@xn--bcher-kva.example"),
        ("ada@xn--bcher-kva.example", "ada@B\u00fccher.example"),
        ("jose\u0301@example.com", "jos\u00e9@example.com"),
        ("ada@example.com", "ADA@example.com"),
    ],
)
async def test_a_customer_of_an_operator_is_found_in_other_spellings(
    visitor: Visitor, pool: asyncpg.Pool, operator: Operator, stored: str, asked: str
) -> None:
    await a_customer(operator, stored)
    assert (await visitor.ask(asked))[1]["code"] == "KEY_LINK_SENT"
    assert await pool.fetchval("select count(*) from kaixu.customer") == 1


async def test_customers_of_an_operator_are_not_merged(
    visitor: Visitor, pool: asyncpg.Pool, operator: Operator
) -> None:
    """Two customers of one mailbox stay two: each address means its own customer."""
    one = await a_customer(operator, "ops+one@example.com")
    two = await a_customer(operator, "ops+two@example.com")
    await visitor.ask("ops+two@example.com")
    [for_two] = await visitor.mailed()
    await visitor.ask("ops+one@example.com")
    [_, for_one] = await visitor.mailed()
    assert visitor.mailbox.recipients == ["ops+two@example.com", "ops+one@example.com"]
    assert (await live_keys(pool))[-1][0] == two["id"]
    await visitor.key_of(for_one)
    assert (await live_keys(pool))[-1][0] == one["id"]
    await visitor.key_of(for_two)
    assert (await live_keys(pool))[-1][0] == two["id"]


async def test_a_link_goes_to_the_account_and_never_to_the_address_that_was_typed(
    visitor: Visitor, pool: asyncpg.Pool, operator: Operator
) -> None:
    """Where `+` is not what it usually is, `ada+x` may be somebody else: it gets neither ada's link nor ada's key."""
    _, ada = await visitor.ask("ada@example.com")
    await visitor.ask("ada+x@example.com")
    [token] = await visitor.mailed()
    assert visitor.mailbox.recipients == ["ada@example.com"]
    # Meanwhile an operator makes a customer of that very address: ada's link is not for it.
    other = await a_customer(operator, "ada+x@example.com")
    key = await visitor.key_of(token)
    keys = await live_keys(pool)
    assert (ada["customer_id"], key[-4:]) in keys
    assert [one for one in keys if one[0] == other["id"]] != []
    assert len([one for one in keys if one[0] == other["id"]]) == 1


async def test_an_address_that_an_operator_has_changed_is_found_by_the_new_one(
    visitor: Visitor, pool: asyncpg.Pool, operator: Operator
) -> None:
    _, ada = await visitor.ask("ada@example.com")
    await operator.send("PATCH", f"admin-customers?customer_id={ada['customer_id']}", {"email": "bob@example.com"})
    status, again = await visitor.ask("ada@example.com")
    assert status == 200
    assert again["customer_id"] != ada["customer_id"]
    assert (await visitor.ask("bob@example.com"))[1]["code"] == "KEY_LINK_SENT"


@pytest.mark.parametrize(
    "email",
    [
        None, "", "   ", 7, [], {}, True, "ada", "ada@", "@example.com", "ada@example", "ada@example.c", "a b@example.com",
        "ada@exam ple.com", "ada@example.com,eve@example.com", "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com\nx", '"ada"@example.com', "ada(x)@example.com", "<ada@example.com>", "ada@[192.0.2.1]",
        "ada@192.0.2.1", "ada..x@example.com", ".ada@example.com", "ada.@example.com", "ada@example..com",
        "ada@-example.com", "ada@example.com.", "a" * 65 + "@example.com", "ada@" + "a" * 64 + ".com",
        "ada@" + "a." * 150 + "com", "x" * 100_000, "ada\u200d@example.com", "ada\u202e@example.com", "ada@fa\u00df.example",
        "ada@exa\u200bmple.com", "ada@ada@example.com",
    ],
)  # fmt: skip
async def test_what_is_no_address_is_refused(visitor: Visitor, pool: asyncpg.Pool, email: object) -> None:
    status, reply = await visitor.ask(email)
    assert status in (400, 413), reply
    assert reply["error"]
    assert await pool.fetchval("select count(*) from kaixu.key_request") == 0


async def test_requests_are_found_by_any_spelling(visitor: Visitor, operator: Operator) -> None:
    await visitor.ask("ada@example.com")
    await visitor.ask("bob@example.com")
    found = await operator.get("admin-key-requests?email=ADA%2Bx@example.com")
    assert [one["address"] for one in found["requests"]] == ["ada@example.com"]
    assert (await operator.ask("GET", "admin-key-requests?state=lost"))[0] == 422
    assert (await operator.ask("GET", "admin-key-requests?email=x"))[0] == 400
