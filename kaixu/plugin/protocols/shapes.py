"""Shapes list the known fields of a request; a filter removes all others."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeAlias

#: The known fields of an object, or of each object of a list. `None`: any value.
Shape: TypeAlias = Mapping[str, "Shape | Pick | None"]


class Pick(NamedTuple):
    """The shapes of objects by their `type`. A shape of `None`: any fields."""

    shapes: Mapping[str | None, Shape | None]
    otherwise: Shape | None = None

    def shape(self, value: Mapping[str, Any]) -> Shape | None:
        """The shape of an object."""
        kind = value.get("type")
        return self.shapes.get(kind if isinstance(kind, str) else None, self.otherwise)


class Filtered(NamedTuple):
    """An object without its unknown fields, and their full names, such as `messages[3].foo`."""

    value: dict[str, Any]
    unknown: list[str]


INDEX = re.compile(r"\[\d+\]")


def filtered(value: dict[str, Any], shape: Shape, also: Collection[str] = ()) -> Filtered:
    """`value` with only the fields of `shape` and `also` (names such as `foo` or `messages[].foo`).

    Unknown fields that are null are removed without being reported. Unchanged parts are not copied.
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
    """The value of a field without its unknown fields."""
    if inner is None:
        return held
    if isinstance(held, list):
        return [known_value(one, inner, f"{name}[{at}]", also, unknown) for at, one in enumerate(held)]
    if not isinstance(held, dict):
        return held
    shape = inner.shape(held) if isinstance(inner, Pick) else inner
    return held if shape is None else known_part(held, shape, name, also, unknown)
