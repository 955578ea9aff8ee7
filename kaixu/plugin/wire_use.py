"""Whether the wire of an integration can reach a vendor, and what its failures then must say about their cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from kaixu.plugin.operation import Integration
from kaixu.plugin.origins import CHECKED


def has_wire(integration: Integration) -> bool:
    """Whether the wire can send anywhere: to declared hosts, or where an option may name a URL."""
    return bool(integration.hosts) or names_urls(integration.options, set())


def names_urls(options: type[BaseModel], seen: set[type]) -> bool:
    """Whether an options model, or a model within it, has a `WireUrl`."""
    if options in seen:
        return False
    seen.add(options)
    return any(
        CHECKED in field.metadata or any(is_url(part, seen) for part in parts_of(field.annotation))
        for field in options.model_fields.values()
    )


def is_url(part: Any, seen: set[type]) -> bool:
    """Whether a part of a type is a `WireUrl`, or a model with one."""
    if CHECKED in getattr(part, "__metadata__", ()):
        return True
    return isinstance(part, type) and issubclass(part, BaseModel) and names_urls(part, seen)


def parts_of(kind: Any) -> Iterator[Any]:
    """A type and all types within it."""
    yield kind
    for part in get_args(kind):
        yield from parts_of(part)
