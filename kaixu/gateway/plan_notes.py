"""Find values of plans in kaixu.yaml that are valid, but probably not intended."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from kaixu.catalog.catalog import Catalog
from kaixu.config.document import Document
from kaixu.config.mistakes import did_you_mean


def plan_notes(document: Document, catalog: Catalog) -> list[str]:
    """A note for each name that no lane or model has, and for each model that a plan sells below its cost."""
    return [*name_notes(document, catalog), *loss_notes(document, catalog)]


def name_notes(document: Document, catalog: Catalog) -> Iterator[str]:
    """Names in the plans' `providers` and `models`."""
    known = {*catalog.providers, *(one.public_name.lower() for one in catalog.lanes.values()), "*"} - {""}
    for plan, section in document.plans.items():
        for provider in {**dict.fromkeys(section.providers or []), **dict.fromkeys(section.models or {})}:
            if provider not in known:
                yield f"plan `{plan}` allows provider `{provider}`, which is no lane{did_you_mean(provider, known)}"
        for provider, models in (section.models or {}).items():
            lanes = list(catalog.models) if provider == "*" else catalog.providers.get(provider, [])
            names = {name for lane in lanes for name in catalog.models.get(lane, {})}
            for model in models if lanes else []:
                if model != "*" and model not in names:
                    yield (
                        f"plan `{plan}` allows model `{model}` of provider `{provider}`, which has no such model"
                        f"{did_you_mean(model, names)}"
                    )


def loss_notes(document: Document, catalog: Catalog) -> Iterator[str]:
    """Models whose price, times the plan's factor, is below what the vendor charges, where the price itself is not."""
    for plan, section in document.plans.items():
        if section.price_factor >= 1:
            continue
        for one in catalog.deployments:
            if one.price is None or one.cost is None or is_below(one.price, one.cost):
                continue
            price = one.times(section.factor_millionths).price
            if price is not None and is_below(price, one.cost):
                yield f"plan `{plan}` sells {one.provider}/{one.model} below its cost"


def is_below(price: msgspec.Struct, cost: msgspec.Struct) -> bool:
    """Whether any rate is below that of the cost."""
    pairs = zip(msgspec.structs.astuple(price), msgspec.structs.astuple(cost), strict=True)
    return any(one < other for one, other in pairs)
