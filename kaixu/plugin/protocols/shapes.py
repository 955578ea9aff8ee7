"""The shape of a request: which fields an object may have. What is not in it can be found, dropped or kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeAlias

#: The known fields of an object, or of each object of a list. `None`: the value is taken as it is.
Shape: TypeAlias = Mapping[str, "Shape | Pick | None"]


class Pick(NamedTuple):
    """Objects of several kinds in one place, told apart by their `type`; `None`: kinds that are taken as they are."""

    shapes: Mapping[str | None, Shape | None]
    otherwise: Shape | None = None

    def shape(self, value: Mapping[str, Any]) -> Shape | None:
        """The shape of an object."""
        kind = value.get("type")
        return self.shapes.get(kind if isinstance(kind, str) else None, self.otherwise)


class Filtered(NamedTuple):
    """An object without its unknown fields, and their full names, as `messages[3].foo`."""

    value: dict[str, Any]
    unknown: list[str]


INDEX = re.compile(r"\[\d+\]")


def filtered(value: dict[str, Any], shape: Shape, also: Collection[str] = ()) -> Filtered:
    """`value` with the fields of `shape` only; those of `also` (as `foo` or `messages[].foo`) are known, too.

    Fields that are null say nothing: they are left out without a word. Nothing is copied that stays as it is.
    """
    unknown: list[str] = []
    return Filtered(known_part(value, shape, "", frozenset(also), unknown), unknown)


def known_part(
    value: dict[str, Any], shape: Shape, place: str, also: Collection[str], unknown: list[str]
) -> dict[str, Any]:
    """See `filtered`."""
    made: dict[str, Any] = {}
    for field, held in value.items():
        name = f"{place}.{field}" if place else field
        if field not in shape:
            if also and INDEX.sub("[]", name) in also:
                made[field] = held
            elif held is not None:
                unknown.append(name)
            continue
        made[field] = known_value(held, shape[field], name, also, unknown)
    return made


def known_value(held: Any, inner: Shape | Pick | None, name: str, also: Collection[str], unknown: list[str]) -> Any:
    """A field's value, its own unknown fields left out."""
    if inner is None:
        return held
    if isinstance(held, list):
        return [known_value(one, inner, f"{name}[{at}]", also, unknown) for at, one in enumerate(held)]
    if not isinstance(held, dict):
        return held
    shape = inner.shape(held) if isinstance(inner, Pick) else inner
    return held if shape is None else known_part(held, shape, name, also, unknown)
