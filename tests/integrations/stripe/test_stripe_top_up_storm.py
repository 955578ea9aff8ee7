"""The measured proof of automatic top-ups: many calls at once in three processes, one charge for each crossing."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import aiohttp

from kaixu.store.pool import open_pool
from tests.support.money import assert_books_balance
from tests.support.size import size

from .server import stand_in
from .shop import Shop, away_from_midnight, shop_process, started
from .stand_in import Stripe

SEED = 20_261_130
PER_DAY = 5
FIRST, THRESHOLD, AMOUNT = 500, 200, 600

#: A call of one word: it costs a dollar.
CALL = {"provider": "up", "model": "echo", "max_tokens": 1, "messages": [{"role": "user", "content": "one"}]}


async def ready(shop: Shop, stripe: Stripe, last4: str) -> None:
    """A customer with credit, a saved card, and automatic top-ups."""
    with stripe.lock:
        person = stripe.add("customer", "cus", email="a@example.com")
        method = stripe.new_method(last4, person["id"])
    await shop.pool.execute(
        "insert into kaixu_stripe.card (id, customer_id, brand, last4) values ($1, $2, 'visa', $3)",
        method["id"], shop.customer_id, last4,
    )  # fmt: skip
    await shop.operator("POST", "/api/admin-topup", {"customer_id": shop.customer_id, "amount_cents": FIRST})
    await shop.set(
        stripe_customer_id=person["id"], auto_topup_threshold_cents=THRESHOLD, auto_topup_amount_cents=AMOUNT,
        auto_topup_enabled=True,
    )  # fmt: skip


async def test_each_crossing_is_charged_once_within_the_day_s_bound_and_a_declined_card_stops_it(
    dsn: str, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    choice = random.Random(SEED)
    good, bad, at_once = size(4, 40), size(1, 5), size(20, 60)
    await away_from_midnight(180)
    began = time.monotonic()
    with stand_in() as stripe:
        gateways = [
            shop_process(tmp_path / f"gateway{at}", dsn, stripe.port, more=f"auto_topups_per_day: {PER_DAY}")
            for at in range(3)
        ]
        async with started(gateways):
            pool = await open_pool(dsn)
            shops = [await Shop(http, gateways[0], pool, stripe).open() for _ in range(good + bad)]
            cards = ["4242"] * good + ["0341"] * bad
            await asyncio.gather(*(ready(shop, stripe, card) for shop, card in zip(shops, cards, strict=True)))
            statuses: Counter[int] = Counter()
            spent: set[int] = set()

            async def caller(number: int) -> None:
                gateway = gateways[number % 3]
                while left := [shop for shop in shops if shop.customer_id not in spent]:
                    shop = choice.choice(left)
                    headers = {"authorization": f"Bearer {shop.key}"}
                    async with http.post(f"{gateway.url}/api/gateway-chat", json=CALL, headers=headers) as reply:
                        statuses[reply.status] += 1
                        assert reply.status in (200, 402), await reply.text()
                    if reply.status == 402:
                        await asyncio.sleep(0.02)  # the money is on its way
                    if reply.status == 402 and await is_over(shop):
                        spent.add(shop.customer_id)

            async with asyncio.timeout(300):
                await asyncio.gather(*(caller(number) for number in range(at_once)))
            await shops[0].settled()
            charges = await pool.fetch(
                "select customer_id, status, credited_cents, crossing from kaixu_stripe.payment where kind = 'auto'"
            )
            await judged(shops[:good], shops[good:])
            references = Counter(
                one["metadata"]["kaixu_payment"] for one in stripe.of("payment_intent") if one["metadata"]
            )
            assert set(references) == {f"kaixu-auto-{row['crossing']}" for row in charges}
            assert set(references.values()) == {1}
            await assert_books_balance(pool)
            assert stripe.complaints == []
            await pool.close()
    print(
        f"{good * PER_DAY} top-ups of {good} customers, {bad} declined cards, {at_once} calls at once on 3 processes: "
        f"{len(charges)} charges for as many crossings, {statuses[200]} calls paid, {statuses[402]} refused; "
        f"{time.monotonic() - began:.0f} s"
    )


async def is_over(shop: Shop) -> bool:
    """Whether nobody will pay for the customer any more today: the bound is reached and spent, or the card declined."""
    rows = await shop.pool.fetch(
        "select status from kaixu_stripe.payment where customer_id = $1 and kind = 'auto'", shop.customer_id
    )
    states = [row["status"] for row in rows]
    if "declined" not in states and states.count("paid") < PER_DAY:
        return False
    left: int = await shop.pool.fetchval(
        "select sum(extra_nusd - spent_nusd)::bigint from kaixu.customer_month where customer_id = $1", shop.customer_id
    )
    return left == 0


async def judged(good: list[Shop], bad: list[Shop]) -> None:
    """What every customer must have in the end."""
    for shop in good:
        payments = await states_of(shop)
        assert payments == ["paid"] * PER_DAY, payments
        assert await shop.topups() == [AMOUNT] * PER_DAY
        assert await spent_cents(shop) == FIRST + PER_DAY * AMOUNT
    for shop in bad:
        assert await states_of(shop) == ["declined"]
        assert await spent_cents(shop) == FIRST
        subjects = await shop.pool.fetch(
            "select subject from kaixu.integration_message where customer_id = $1", shop.customer_id
        )
        assert [row["subject"] for row in subjects] == ["Automatic top-ups are switched off"]
        assert (await shop.balance())["auto_topup"]["enabled"] is False


async def states_of(shop: Shop) -> list[str]:
    """The automatic payments of a customer."""
    return [one["status"] for one in await shop.payments() if one["kind"] == "auto"]


async def spent_cents(shop: Shop) -> int:
    """What a customer has spent."""
    found: int = await shop.pool.fetchval(
        "select sum(spent_nusd)::bigint from kaixu.customer_month where customer_id = $1", shop.customer_id
    )
    return found // 10**7
