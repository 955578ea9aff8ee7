"""Price, cost and margin of a model, in USD per million tokens, as text."""

from __future__ import annotations

from typing import Any

from .price import CHARGED, Price, losses, usd
from .sections import ModelSection, PriceSection

#: The kinds that are shown; the others are only checked for losses.
SHOWN = ("input", "output")


def figures(model: ModelSection) -> dict[str, Any]:
    """A model's price, cost and margin as text, or None, and where its rates are from."""
    price = None if model.price is None else model.price.price()
    cost = None if model.cost is None else model.cost.price()
    row = rate_figures(price, cost, model.type)
    row["price_from"] = origin(model.price)
    row["cost_from"] = origin(model.cost)
    listed = [one.listed for one in (model.price, model.cost) if one is not None and one.listed is not None]
    row["list"] = listed[0].name if listed else None
    row["as_of"] = listed[0].as_of if listed else None
    row["note"] = listed[0].note if listed else None
    return row


def rate_figures(price: Price | None, cost: Price | None, kind: str) -> dict[str, Any]:
    """The rates of a price and of a cost as text, the margins in percent, and `loss`: what is priced below its cost."""
    charged = [one for one in SHOWN if one in CHARGED[kind]]
    row: dict[str, Any] = {}
    for what, rates in (("price", price), ("cost", cost)):
        for one in SHOWN:
            row[f"{what}_{one}_usd"] = usd(getattr(rates, one)) if rates is not None and one in charged else None
    for one in SHOWN:
        known = price is not None and cost is not None and one in charged
        row[f"margin_{one}_percent"] = margin(getattr(price, one), getattr(cost, one)) if known else None
    row["loss"] = losses(price, cost, CHARGED[kind])
    return row


def margin(price_nusd: int, cost_nusd: int) -> str | None:
    """The margin in percent of the price, rounded half up to a tenth; None for a price of 0."""
    if price_nusd == 0:
        return None
    tenths = (2000 * (price_nusd - cost_nusd) + price_nusd) // (2 * price_nusd)
    return f"{'-' if tenths < 0 else ''}{abs(tenths) // 10}.{abs(tenths) % 10}"


def origin(rates: PriceSection | None) -> str | None:
    """The origin of rates: "own", "list + 31 %"."""
    if rates is None:
        return None
    return "own" if rates.listed is None else rates.listed.terms
