"""The measured proof of payments: events that are repeated, reordered, late or lost, while gateways and Postgres die."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import aiohttp

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import open_pool
from tests.e2e.test_crashes import kill_postgres, own_postgres
from tests.support.money import assert_books_balance
from tests.support.process import Process
from tests.support.size import size

from .server import stand_in
from .shop import Shop, away_from_midnight, shop_process, started
from .stand_in import Json

__all__ = ["own_postgres"]

SEED = 20_261_130
#: A customer may begin ten checkouts in a minute.
EACH = 10


async def test_whatever_happens_every_paid_session_is_credited_exactly_once(
    own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    choice = random.Random(SEED)
    sessions, deliveries, lost = size(20, 100), size(160, 1000), size(4, 20)
    embedded, dsn = own_postgres
    await away_from_midnight(180)
    began = time.monotonic()
    with stand_in() as stripe:
        gateways = [shop_process(tmp_path / f"gateway{at}", dsn, stripe.port) for at in range(2)]
        async with started(gateways):
            pool = await open_pool(dsn)
            shops = [await Shop(http, gateways[at % 2], pool, stripe).open() for at in range(sessions // EACH)]
            made = [await shop.checkout(100 + 7 * at) for shop in shops for at in range(EACH)]
            for at, session in enumerate(made):
                stripe.pay(session["id"], later=at % 9 == 0)
            for session in made[::9]:
                stripe.bank_pays(session["id"])
            unsent = {session["client_reference_id"] for session in choice.sample(made, lost)}
            about = [one for one in stripe.events if reference_of(one) not in unsent]
            events = about + choice.choices(about, k=deliveries - len(about))
            choice.shuffle(events)
            kills = {len(events) // 3: 0, 2 * len(events) // 3: 1}
            places = asyncio.Semaphore(16)

            async def deliver(event: Json, late_s: float) -> None:
                await asyncio.sleep(late_s)
                shop = choice.choice(shops)
                async with places, asyncio.timeout(120):
                    while True:  # Stripe sends again what was not accepted
                        try:
                            if (await shop.deliver(event)).status == 200:
                                return
                        except aiohttp.ClientError:
                            pass
                        await asyncio.sleep(0.05)

            sending = []
            for at, event in enumerate(events):
                if at in kills:
                    await asyncio.sleep(0.2)
                    await die(embedded, gateways[kills[at]], is_postgres_first=at % 2 == 0)
                    await pool.expire_connections()
                sending.append(asyncio.ensure_future(deliver(event, choice.choice([0, 0, 0, 1.0]))))
            await asyncio.gather(*sending)
            await shops[0].settled()
            heard = await pool.fetchval("select count(*) from kaixu_stripe.payment where credited_cents > 0")
            await shops[0].sweep()
            await asserted(shops, made)
            await shops[0].sweep()  # once more changes nothing
            await asserted(shops, made)
            await assert_books_balance(pool)
            assert stripe.complaints == []
            await pool.close()
    print(
        f"{sessions} sessions, {deliveries} deliveries, {lost} never sent, 2 gateways and Postgres killed twice: "
        f"{heard} credited by events, all {sessions} after the sweep, each once; {time.monotonic() - began:.0f} s"
    )


def reference_of(event: Json) -> str:
    """The payment that an event is about."""
    return str(event["data"]["object"]["metadata"]["kaixu_payment"])


async def die(embedded: EmbeddedPostgres, gateway: Process, *, is_postgres_first: bool) -> None:
    """A gateway and Postgres are killed, and come back."""
    if is_postgres_first:
        kill_postgres(embedded)
    gateway.kill()
    if not is_postgres_first:
        kill_postgres(embedded)
    await asyncio.to_thread(embedded.revive)
    await gateway.start()


async def asserted(shops: list[Shop], made: list[Json]) -> None:
    """Each session has one booking, of its amount, for its customer."""
    rows = await shops[0].pool.fetch(
        "select reference, customer_id, amount_nusd from kaixu.topup where source = 'stripe' order by reference"
    )
    expected = sorted((one["id"], int(one["metadata"]["customer_id"]), one["amount_total"] * 10**7) for one in made)
    assert [tuple(row) for row in rows] == expected
