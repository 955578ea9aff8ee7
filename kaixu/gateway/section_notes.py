"""Find what is valid in kaixu.yaml but hardly meant: models without a price, ambiguous names, addresses with a path."""

from __future__ import annotations

from collections.abc import Iterator

from kaixu.catalog.catalog import Catalog

#: Endings of `base_url` that a lane adds by itself.
ENDINGS = ("/chat/completions", "/completions", "/embeddings", "/responses", "/messages", "/v1/messages")


def section_notes(catalog: Catalog) -> list[str]:
    """A note for each of them, but for ambiguous names: they may be meant, as in the kaixu.yaml that we ship."""
    return [*unpriced_notes(catalog), *address_notes(catalog)]


def unpriced_notes(catalog: Catalog) -> Iterator[str]:
    """Models without a price: calls to them are refused."""
    for lane, state in catalog.lanes.items():
        for model, section in state.section.models.items():
            if section.price is None:
                yield f"model `{model}` of lane `{lane}` has no price: calls to it are refused with 409"


def alias_notes(catalog: Catalog) -> Iterator[str]:
    """Aliases that are another lane's name: one provider name then means several lanes."""
    names = {name.lower(): name for name in catalog.lanes}
    lanes: dict[str, list[str]] = {}  # another lane's name → lanes with this alias
    for lane, state in catalog.lanes.items():
        for name in dict.fromkeys(alias.lower() for alias in state.section.aliases):
            other = names.get(name)
            if other is not None and other != lane:
                lanes.setdefault(other, []).append(lane)
    for name, others in lanes.items():
        listed = ", ".join(f"`{other}`" for other in others)
        yield f"`{name}/…` means models of lane `{name}` and of those that have it as an alias: {listed}"


def address_notes(catalog: Catalog) -> Iterator[str]:
    """Addresses that end in the path of an endpoint, which the lane adds itself."""
    for lane, state in catalog.lanes.items():
        url = state.section.options.get("base_url")
        plain = url.partition("?")[0].rstrip("/").lower() if isinstance(url, str) else ""
        ending = next((one for one in ENDINGS if plain.endswith(one)), None)
        if ending is not None:
            yield f"`base_url` of lane `{lane}` ends in {ending}: leave that out, the lane adds the path itself"
