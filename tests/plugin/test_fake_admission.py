"""Jobs without an admission in the kit: they have no key, and what they enqueue must be free."""

from __future__ import annotations

import msgspec
import pytest

from kaixu.plugin import Call, Free, Integration, Job, PerCall
from kaixu.plugin.testing import FakeCall, check_integration, run


class Order(msgspec.Struct):
    id: str


async def watch(call: Call[Order]) -> Order:
    async with call.db() as db:
        await db.charge("plan", key=call.body.id)
        await db.enqueue("shop.clean" if call.key_id is None else "shop.paid", call.body)
    return call.body


async def pays(call: Call[Order]) -> Order:
    await call.enqueue("shop.paid", call.body)
    return call.body


def shop(**watching: object) -> Integration:
    """An integration whose job watches."""
    return Integration(
        "shop",
        [],
        jobs=[
            Job("shop.watch", watch, Order, Free("a test"), **watching),  # type: ignore[arg-type]
            Job("shop.pays", pays, Order, Free("a test"), admission="none"),
            Job("shop.clean", pays, Order, Free("a test")),
            Job("shop.paid", pays, Order, PerCall("price")),
        ],
        charges=[PerCall("plan")],
    )


async def test_its_call_has_a_customer_and_no_key() -> None:
    call = FakeCall(Order("one"))
    await run(shop(admission="none"), "shop.watch", call)
    assert (call.customer_id, call.key_id, call.jobs) == (1, None, [("shop.clean", Order("one"))])
    assert [(done.kind, done.charge, done.key) for done in call.charges] == [("charge", "plan", "one")]
    admitted = FakeCall(Order("one"))
    await run(shop(), "shop.watch", admitted)
    assert (admitted.key_id, admitted.jobs) == (1, [("shop.paid", Order("one"))])


async def test_it_enqueues_no_job_that_has_a_price() -> None:
    with pytest.raises(ValueError, match="no key that it could be billed to"):
        await run(shop(), "shop.pays", FakeCall(Order("one")))


def test_one_with_a_price_is_a_mistake() -> None:
    priced = Integration("shop", [], jobs=[Job("shop.j", pays, Order, PerCall("price"), admission="none")])
    with pytest.raises(AssertionError, match="it must be Free"):
        check_integration(priced)
