"""Reads requests of text messages and usual settings alone, which are most: in one step, without a look at each field.

What it returns is what `parse_chat_request` makes of the same body; what it does not take, that function reads or
refuses.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kaixu.api.request_defaults import remove_defaults
from kaixu.catalog.catalog import Deployment
from kaixu.plugin.types import ChatRequest, Message, Native, Role, TextPart

#: Longer conversations are read in the general way, where the time does not count beside that for their texts.
MOST_MESSAGES = 100

MAX_TOKENS = 10_000_000
Tokens = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class TextMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A message with a text and nothing else."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Meta(min_length=1)]


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What a stream has besides the answer."""

    include_usage: bool | None = None


class TextChat(msgspec.Struct, forbid_unknown_fields=True):
    """A body that can be read in one step."""

    model: str
    messages: Annotated[list[TextMessage], Meta(min_length=1, max_length=MOST_MESSAGES)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    user: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


FIELDS = frozenset(TextChat.__struct_fields__)
ROLES: dict[str, Role] = {"system": "system", "developer": "developer", "user": "user", "assistant": "assistant"}


def read_text_chat(
    body: dict[str, Any], deployment: Deployment, *, protocol: str, most_messages: int
) -> ChatRequest | None:
    """The request in `body`; None for one with anything else in it, or with a mistake."""
    if not body.keys() <= FIELDS:
        return None
    try:
        read = msgspec.convert(body, TextChat)
    except msgspec.ValidationError:
        return None
    if len(read.messages) > most_messages:
        return None
    request = ChatRequest(
        model=deployment.upstream,
        messages=tuple([Message(ROLES[one.role], (TextPart(one.content),)) for one in read.messages]),
        max_tokens=min(
            read.max_completion_tokens or read.max_tokens or deployment.default_output_tokens,
            deployment.max_output_tokens,
        ),
        temperature=read.temperature,
        top_p=read.top_p,
        seed=read.seed,
        presence_penalty=read.presence_penalty,
        frequency_penalty=read.frequency_penalty,
        user=read.user,
        native=Native(protocol, body) if deployment.native == protocol else None,
    )
    return remove_defaults(request)
