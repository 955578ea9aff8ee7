"""Tokens without the vendor's word: a bound before the call, an estimate after it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import Invalid, Unprocessable
from kaixu.plugin.lane import Lane
from kaixu.plugin.types import (
    ChatRequest,
    EmbedRequest,
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

#: What a vendor may put around the whole request (start token, tool preamble), in tokens.
REQUEST_OVERHEAD_TOKENS = 16

#: The fields of a native request that `messages` says in the contract's words, and that are counted there.
TURNS = frozenset({"messages", "system"})

log = logging.getLogger(__name__)

ENCODER = msgspec.json.Encoder()


def byte_length(text: str) -> int:
    """The length in UTF-8: byte-level BPE never makes more tokens than bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def estimated_tokens(text: str) -> int:
    """About how many tokens a text is: four ASCII characters, or one other character, a token."""
    if text.isascii():
        return -(-len(text) // 4)
    other = len(text) - len(text.encode("ascii", "ignore"))
    return other - (other - len(text)) // 4


def counted_by(lane: Lane, model: str, text: str) -> int | None:
    """The lane's own count of a text. A plugin that fails here must not keep a call from being settled."""
    try:
        counted = lane.count_tokens(model, text)
    except Exception:
        log.exception("a lane's count_tokens failed for model %s", model)
        return None
    return counted if isinstance(counted, int) and counted >= 0 else None


def encoded_length(value: object) -> int:
    """The length as JSON. Raises `Invalid` for what is nested too deep to be written."""
    try:
        return len(ENCODER.encode(value))
    except RecursionError:
        raise Invalid("the body is nested too deep", hint="Send at most a hundred levels.") from None


def texts_of(message: Message) -> list[str]:
    """Everything in a message that a vendor turns into tokens by spelling it."""
    texts = []
    for part in message.parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, ToolCallPart):
            texts += [part.id, part.name, part.arguments]
        elif isinstance(part, ToolResultPart):
            texts += [part.id, part.text]
        elif isinstance(part, ReasoningPart):
            texts += [part.text, part.opaque or ""]
    return texts


def most_input_tokens(request: ChatRequest, deployment: Deployment) -> int:
    """An upper bound of the request's input tokens: counted where the lane can, else bounded by bytes.

    Raises `Unprocessable` for an image where the operator has not said what one can cost at most.
    """
    lane = deployment.lane
    assert lane is not None
    bound = REQUEST_OVERHEAD_TOKENS
    for message in request.messages:
        bound += lane.message_overhead_tokens
        for text in texts_of(message):
            counted = counted_by(lane, deployment.upstream, text)
            bound += byte_length(text) if counted is None else counted
        if images := images_of(message):
            if deployment.image_tokens is None:
                raise Unprocessable(
                    f"model `{deployment.model}` takes no images",
                    hint="Send text, or ask the operator to set image_tokens for it.",
                )
            bound += images * deployment.image_tokens
    if request.tools or (request.native is not None and request.native.body.get("tools")):
        bound += lane.tools_overhead_tokens + lane.message_overhead_tokens * len(request.tools)
    if request.native is not None:
        # Whatever else it carries goes to the vendor too: tools, formats, fields that we do not know.
        bound += encoded_length({name: value for name, value in request.native.body.items() if name not in TURNS})
    else:
        bound += encoded_length((request.tools, request.response_format))
    return bound


def images_of(message: Message) -> int:
    """How many images a message shows, also in what tools answered."""
    parts = list(message.parts)
    parts += [inner for part in message.parts if isinstance(part, ToolResultPart) for inner in part.content]
    return sum(isinstance(part, ImagePart) for part in parts)


def most_embed_tokens(request: EmbedRequest, deployment: Deployment) -> int:
    """An upper bound of an embedding call's tokens."""
    lane = deployment.lane
    assert lane is not None
    bound = REQUEST_OVERHEAD_TOKENS + lane.message_overhead_tokens * len(request.inputs)
    return bound + sum(most_tokens_of(one, lane, deployment.upstream) for one in request.inputs)


def most_tokens_of(one: str | tuple[int, ...], lane: Lane, model: str) -> int:
    """An upper bound of the tokens of one input of an embedding call."""
    if not isinstance(one, str):
        return len(one)
    counted = counted_by(lane, model, one)
    return byte_length(one) if counted is None else counted


def estimated_embed_tokens(inputs: Iterable[str | tuple[int, ...]]) -> int:
    """About how many tokens some inputs are."""
    return sum(max(1, estimated_tokens(one)) if isinstance(one, str) else len(one) for one in inputs)


def counted_input_tokens(request: ChatRequest, deployment: Deployment) -> int:
    """About how many input tokens the request was, for a bill without the vendor's word."""
    lane = deployment.lane
    assert lane is not None
    total = 0
    for message in request.messages:
        for text in texts_of(message):
            counted = counted_by(lane, deployment.upstream, text)
            total += estimated_tokens(text) if counted is None else counted
        total += 4
    return total
