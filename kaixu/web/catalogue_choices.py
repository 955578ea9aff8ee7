"""The lanes and models of the catalogue as choices of forms: menus never read them from events."""

from __future__ import annotations

from kaixu.catalog.catalog import Catalog

from .components import Option


def provider_options(catalog: Catalog, also: str = "") -> list[Option]:
    """The lanes, by the names that usage has. `also`: a value that is chosen although no lane has it any more."""
    names = sorted({*catalog.lanes, *catalog.integrations, *([also] if also else [])})
    return [Option("", "all"), *(Option(name, name) for name in names)]


def models_of(catalog: Catalog, lane: str) -> list[str]:
    """The models of a lane, without their aliases."""
    return sorted(catalog.lanes[lane].section.models)


def model_options(catalog: Catalog, also: str = "") -> list[Option]:
    """The models of all lanes, grouped by lane; a name that several lanes have stands once."""
    seen: dict[str, str] = {}
    for lane in sorted(catalog.lanes):
        for model in models_of(catalog, lane):
            seen.setdefault(model, lane)
    if also and also not in seen:
        seen[also] = "not in the catalogue"
    return [Option("", "all"), *(Option(model, model, lane) for model, lane in seen.items())]
