"""The prices of plans: a customer's factor, and the versions of prices times a factor.

A call's factor is read from the database when the call arrives, just before its admission: what it is billed by does
not depend on which process serves it. Only the first factor of an installation takes up to a minute to reach processes
that did not store it: until then nothing is read at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg

from kaixu.catalog.catalog import Deployment
from kaixu.config.plans_section import MILLION
from kaixu.config.price import Price
from kaixu.store import plans
from kaixu.store.admission import Ask
from kaixu.store.group import Group
from kaixu.store.pool import database
from kaixu.store.prices import price_version

from .price_keys import PriceKey, model_key

#: A caller: the id of its key, or the two hashes.
CallerKey = tuple[int | None, bytes | None, bytes | None]


class PlanPrices:
    """Finds price factors, in groups; nothing is read while no plan and no customer has one (`in_use`).

    `pool` is the one for admissions, so that other work cannot hold up calls. `price_ids` is the gate's: versions of
    multiplied prices are added to it when they are first needed.
    """

    def __init__(self, pool: asyncpg.Pool, price_ids: dict[PriceKey, int]) -> None:
        self.pool = pool
        self.price_ids = price_ids
        self.in_use = False
        self._factors: Group[CallerKey, int] = Group(self._read)

    async def refresh(self) -> None:
        """Look whether there are factors: when plans were applied here, and each minute. Raises `DatabaseAway`."""
        with database():
            self.in_use = await plans.has_factors(self.pool)

    async def factor_of(self, caller: CallerKey) -> int:
        """The price factor of a caller's customer, in millionths. Raises `DatabaseAway`."""
        if not self.in_use:
            return MILLION
        answer = self._factors.put(caller)
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # its caller may be gone by then
        return await asyncio.shield(answer)

    async def multiplied(self, deployment: Deployment, factor_millionths: int) -> Deployment:
        """The deployment at its prices times the factor, whose versions are stored. Raises `DatabaseAway`."""
        priced = deployment.times(factor_millionths)
        await self._store(priced, priced.price)
        if priced.cache is not None:
            await self._store(priced, priced.cached_price)
        return priced

    async def _read(self, callers: list[CallerKey]) -> Sequence[int | Exception]:
        with database():
            return await plans.factors(self.pool, callers)

    async def _store(self, deployment: Deployment, price: Price | None) -> None:
        """Store a price as a version, unless it is one."""
        key = model_key(deployment, price)
        if price is not None and key not in self.price_ids:
            self.price_ids[key] = await price_version(
                self.pool, provider=deployment.provider, model=deployment.model, price=price, cost=deployment.cost
            )


def caller_key(ask: Ask) -> CallerKey:
    """Who makes a call."""
    return ask.key_id, ask.key_hash, ask.legacy_hash
