"""The protocols that are passed through to vendors: which fields are known, and which could cost more.

A request in one of these protocols reaches a lane of the same protocol as the client wrote it (`Native`). The call's
hold must cover all of it, so every field is one of three kinds:

- known and free: passed on; its text counts towards the hold like any other;
- dearer: could make the vendor charge more than the model's price covers. Refused by name, unless the operator
  lists the name in the model's `allow`;
- unknown: dropped, refused or passed on, as the lane's `unknown_fields` says.
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
    """The known fields of one protocol, and the check for dearer ones.

    `is_text_alone`: a quick look whether a body has neither unknown nor dearer fields; False where it cannot tell.
    """

    fields: Shape
    dearer: Callable[[dict[str, Any]], list[Dearer]]
    is_text_alone: Callable[[dict[str, Any]], bool] = lambda body: False


__all__ = ["PROTOCOLS", "Filtered", "Shape", "dearer_fields", "family_of", "filtered", "is_text_alone", "shape_of"]

#: The version suffix of a vendor's tool type.
VERSION = re.compile(r"(_preview)?([_-]\d{4}[_-]?\d{2}[_-]?\d{2})?$")


def family_of(kind: str) -> str:
    """The type of a tool without its version: `web_search` for `web_search_20250305` and `web_search_preview`."""
    return VERSION.sub("", kind)


#: By the name in `Lane.native`.
PROTOCOLS = {
    "openai.chat": Protocol(openai_chat.FIELDS, openai_chat.dearer, openai_chat.is_text_alone),
    "anthropic.messages": Protocol(anthropic_messages.FIELDS, anthropic_messages.dearer),
}


def shape_of(protocol: str) -> Shape:
    """The known fields of a protocol."""
    return PROTOCOLS[protocol].fields


def is_text_alone(native: Native) -> bool:
    """Whether a request is known to have neither unknown nor dearer fields."""
    return PROTOCOLS[native.protocol].is_text_alone(native.body)


def dearer_fields(native: Native) -> list[Dearer]:
    """The fields of a request that could cost more than its hold."""
    return PROTOCOLS[native.protocol].dearer(native.body)
