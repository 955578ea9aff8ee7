"""The vendors' protocols that clients may speak straight through: which of their fields are known, and what they cost.

A request in one of these protocols reaches a lane that speaks it as the client wrote it (`Native`). What is in it must
be bounded by the call's hold, so every field is one of three kinds:

- known and free: it is sent on, and its text counts towards the hold like any other;
- dearer: it could make the vendor charge more than the model's price says. It is refused by name, unless the operator
  lists that name in the model's `allow`;
- unknown: dropped, refused or sent on, by the lane's `unknown_fields`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from kaixu.plugin.types import Native

from . import anthropic_messages, openai_chat
from .shapes import Filtered, Shape, filtered

#: A field that could make a call dearer: its name, why it is refused, and whether an operator may allow it.
Dearer = tuple[str, str, bool]


class Protocol(NamedTuple):
    """What is known of one protocol."""

    fields: Shape
    dearer: Callable[[dict[str, Any]], list[Dearer]]


__all__ = ["PROTOCOLS", "Filtered", "Shape", "dearer_fields", "family_of", "filtered", "shape_of"]

#: What tells the versions of a vendor's tool apart.
VERSION = re.compile(r"(_preview)?([_-]\d{4}[_-]?\d{2}[_-]?\d{2})?$")


def family_of(kind: str) -> str:
    """The type of a tool without its version: `web_search` of `web_search_20250305` and `web_search_preview`."""
    return VERSION.sub("", kind)


#: By the name that `Lane.native` has.
PROTOCOLS = {
    "openai.chat": Protocol(openai_chat.FIELDS, openai_chat.dearer),
    "anthropic.messages": Protocol(anthropic_messages.FIELDS, anthropic_messages.dearer),
}


def shape_of(protocol: str) -> Shape:
    """The known fields of a protocol."""
    return PROTOCOLS[protocol].fields


def dearer_fields(native: Native) -> list[Dearer]:
    """What in a request could make it dearer than its hold."""
    return PROTOCOLS[native.protocol].dearer(native.body)
