"""The version of every price in a catalog, stored before anything is billed."""

from __future__ import annotations

import asyncpg

from kaixu.catalog.catalog import Catalog
from kaixu.metering.price_keys import PriceKey, model_key, rates_key
from kaixu.store.prices import price_version, rates_version


async def price_ids(pool: asyncpg.Pool, catalog: Catalog) -> dict[PriceKey, int]:
    """The ids of the versions of all prices of models and operations. Raises `DatabaseAway`."""
    operations = {
        rates_key(state.name, name, rates): await rates_version(pool, provider=state.name, model=name, rates=rates)
        for state in catalog.integrations.values()
        for name, rates in state.rates.items()
    }
    return operations | {
        model_key(deployment, price): await price_version(
            pool, provider=deployment.provider, model=deployment.model, price=price, cost=deployment.cost
        )
        for deployment in catalog.deployments
        for price in deployment.prices.values()
    }
