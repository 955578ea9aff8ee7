"""Money of an integration of somebody else: charges by key, its book, credits, customers, reactions, and its life."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from tests.support.money import assert_books_balance

from .conftest import SECRET, FromWheel
from .station import Station, settled

USD = 10**9


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """What the condition returns, once that is true."""
    async with asyncio.timeout(30):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
        return found


async def freight(station: Station) -> dict[str, Any]:
    """The present month of the book."""
    month: dict[str, Any] = (await station.call("GET", "/v1/parcel/shipments")).json
    return month


async def test_a_shipment_is_held_billed_by_a_job_once_and_released_when_it_is_cancelled(
    shared: Station, shared_pool: asyncpg.Pool
) -> None:
    # The book has a cap of its own: the customer's is not asked.
    await shared.operator("PATCH", "/api/admin-customers", {"customer_id": shared.customer_id, "monthly_cap_cents": 1})
    for name in ("one", "two"):
        ordered = await shared.call("POST", "/v1/parcel/shipments", {"id": name, "grams": 2000})
        assert ordered.json == {"id": name, "state": "ordered"}, ordered
    month = await freight(shared)
    assert (month["held_nusd"], month["spent_nusd"]) == (1 * USD + 2 * (3 + 1) * USD, 0)  # the depot's month once
    assert (await shared.call("DELETE", "/v1/parcel/shipments/two")).json["state"] == "cancelled"
    for _ in range(2):
        assert (await shared.call("POST", "/v1/parcel/shipments/one/signature")).status == 200

    async def is_billed() -> bool:
        return bool((await freight(shared))["spent_nusd"])

    await until(is_billed)
    assert (await shared.call("POST", "/v1/parcel/shipments/one/signature")).status == 200
    await settled(shared_pool)
    month = await freight(shared)
    assert (month["held_nusd"], month["spent_nusd"], month["base_nusd"]) == (0, 5 * USD, 1 * USD)
    assert {line["charge"]: (line["count"], line["nusd"]) for line in month["lines"] if line["count"]} == {
        "depot": (1, 1 * USD),
        "shipment": (1, 3 * USD),
        "weight": (1, 1 * USD),
    }
    assert (await shared.call("DELETE", "/v1/parcel/shipments/one")).status == 404
    refused = await shared.call("POST", "/v1/parcel/shipments", {"id": "three", "grams": 6000})
    assert (refused.status, refused.json["code"], refused.json["left_usd"]) == (
        402,
        "FREIGHT_CAP",
        2.0,
    )  # 5, less the shipment of the same order
    assert not await shared_pool.fetchval(
        "select count(*) from kaixu_parcel.shipment where customer_id = $1 and id = 'three'", shared.customer_id
    )
    await shared.set(freight_cap=None)
    assert (await shared.call("POST", "/v1/parcel/shipments", {"id": "three", "grams": 6000})).status == 200
    await assert_books_balance(shared_pool)


async def test_a_customer_has_the_price_list_that_its_settings_name(shared: Station) -> None:
    await shared.set(price_list="wholesale")
    await shared.call("POST", "/v1/parcel/shipments", {"id": "one", "grams": 4000})
    month = await freight(shared)
    assert (month["pricing_version"], month["held_nusd"]) == ("wholesale", (1 + 2 + 1) * USD)


async def pay(station: Station, payment: str, cents: int, event: str) -> None:
    """An event of the cashier."""
    kind = "payment.received" if cents > 0 else "payment.returned"
    fields = {"id": event, "type": kind, "payment": payment, "customer": station.customer_id, "cents": cents}
    assert (await station.event(SECRET, path="/v1/parcel/webhooks/payments", **fields)).status == 200


async def test_a_payment_is_credited_once_and_taken_back(shared: Station, shared_pool: asyncpg.Pool) -> None:
    name = f"p{shared.customer_id}"
    for at in range(3):  # several events of one payment, one of them twice
        await pay(shared, name, 500, f"{name}-{at // 2}")
    await settled(shared_pool)
    money = await shared.call("GET", "/v1/parcel/money")
    assert money.json == {"credit_nusd": 5 * USD, "debt_nusd": 0, "payments": 1}
    await pay(shared, f"{name}-back", -500, f"{name}-back")
    await settled(shared_pool)
    assert (await shared.call("GET", "/v1/parcel/money")).json["credit_nusd"] == 0
    noted = "select provider, error_message, extra from kaixu.gateway_event where extra ->> 'payment' = $1"
    [note] = await until(lambda: shared_pool.fetch(noted, f"{name}-back"))
    assert (note["provider"], note["error_message"]) == ("parcel", "a payment was returned")
    await assert_books_balance(shared_pool)


async def test_operators_invite_and_find_customers(shared: Station, shared_pool: asyncpg.Pool) -> None:
    email = f"new-{shared.customer_id}@example.com"
    made = (await shared.operator("POST", "/v1/parcel/admin/invitations", {"email": email})).json
    again = (await shared.operator("POST", "/v1/parcel/admin/invitations", {"email": email.upper()})).json
    assert again == made
    letters = "select text from kaixu_parcel.letter where customer_id = $1"
    assert [row["text"] for row in await until(lambda: shared_pool.fetch(letters, made["customer_id"]))] == ["Welcome."]
    await shared.set(account=f"account-{shared.customer_id}")
    found = await shared.operator("GET", f"/v1/parcel/admin/who?account=account-{shared.customer_id}")
    assert (found.json["customer_id"], found.json["email"]) == (shared.customer_id, shared.email)


async def test_a_low_balance_and_a_reached_cap_are_reacted_to_once(shared: Station, shared_pool: asyncpg.Pool) -> None:
    cap = {"customer_id": shared.customer_id, "monthly_cap_cents": 2}
    await shared.operator("PATCH", "/api/admin-customers", cap)
    await shared.set(warn_below_cents=2)
    assert (await shared.call("POST", "/v1/parcel/parcels", {"grams": 5})).status == 200  # 1 of 2 cents
    letters = "select text from kaixu_parcel.letter where customer_id = $1 order by text"

    async def both() -> bool:
        await shared.call("POST", "/v1/parcel/parcels", {"grams": 5})
        rows = [row["text"] for row in await shared_pool.fetch(letters, shared.customer_id)]
        return rows == ["balance_below", "cap_reached"]

    await until(both)
    await shared.operator("PATCH", "/api/admin-customers", cap | {"monthly_cap_cents": 100})  # wakes the blocked jobs
    await settled(shared_pool)
    rows = await shared_pool.fetch(letters, shared.customer_id)
    assert [row["text"] for row in rows] == ["balance_below", "cap_reached"]


async def test_a_deleted_customer_leaves_payments_without_a_name(shared: Station, shared_pool: asyncpg.Pool) -> None:
    await shared.call("POST", "/v1/parcel/account", {"token": f"token-of-{shared.customer_id}"})
    await shared.call("POST", "/v1/parcel/shipments", {"id": "one"})
    await pay(shared, f"kept-{shared.customer_id}", 500, f"kept-{shared.customer_id}")
    await settled(shared_pool)
    await shared.gateway.kaixu("customers", "delete", str(shared.customer_id), "--yes")
    noted = "select extra from kaixu.gateway_event where error_message = 'a customer has left' and customer_id = $1"
    await until(lambda: shared_pool.fetch(noted, shared.customer_id))
    kept = await shared_pool.fetchrow(
        "select cents, payer from kaixu_parcel.payment where customer_id = $1", shared.customer_id
    )
    assert tuple(kept or ()) == (500, None)


async def test_it_needs_its_grants_opens_closes_and_says_why_it_cannot_open(station: Station) -> None:
    gateway = station.gateway
    assert isinstance(gateway, FromWheel)
    assert gateway.log.read_text().count("the depot has opened") == 1
    text = gateway.config.read_text()
    gateway.config.write_text(text + "    is_closed: true\n")
    # A reload that would make it fail is not done: the one that serves goes on.
    assert "the depot is closed: set is_closed to false" in await gateway.refused("reload")
    assert (await station.call("GET", "/v1/parcel/parcels")).status == 200
    await gateway.stop()
    await gateway.start()
    assert "the depot is closed: set is_closed to false" in gateway.log.read_text()
    assert (await station.call("GET", "/v1/parcel/parcels")).status == 503
    gateway.config.write_text(text)
    await gateway.kaixu("reload")
    assert (await station.call("GET", "/v1/parcel/parcels")).status == 200
    gateway.config.write_text(text.replace("grants: [credit, customers]", "grants: [credit]"))
    await gateway.kaixu("reload")  # without a grant it is off, as an operator may want it
    assert "grants: [customers]" in await gateway.kaixu("plugins", "--json")
    assert (await station.call("GET", "/v1/parcel/parcels")).status == 503
    await gateway.stop()
    log = gateway.log.read_text()
    assert (log.count("the depot has opened"), log.count("the depot has closed")) == (2, 2)
