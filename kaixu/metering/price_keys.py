"""Which price version a call is billed by: found by the price itself, so a reload in between cannot exchange it."""

from __future__ import annotations

from kaixu.catalog.catalog import Deployment, rates_of
from kaixu.config.price import Price
from kaixu.plugin.operation import Charge

#: Provider, model, the price, and what the vendor charges; of an operation the rates that its version stores.
PriceKey = tuple[str, str, Price | tuple[tuple[str, int], ...] | None, Price | None]


def model_key(deployment: Deployment, price: Price | None) -> PriceKey:
    """The key of one of a model's prices."""
    return deployment.provider, deployment.model, price, deployment.cost


def operation_key(integration: str, name: str, charge: Charge, prices_nusd: dict[str, int]) -> PriceKey:
    """The key of the price of an integration's operation or job."""
    return rates_key(integration, name, rates_of(charge, prices_nusd))


def rates_key(integration: str, name: str, rates: dict[str, int]) -> PriceKey:
    """The key of rates as a version stores them."""
    return integration, name, tuple(sorted(rates.items())), None
