"""Counts tokens without the vendor: a bound before the call, an estimate after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import Unprocessable
from kaixu.plugin.lane import Lane
from kaixu.plugin.types import (
    ChatRequest,
    EmbedRequest,
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolName,
    ToolResultPart,
)

from .native_tokens import CONVERSATION, NativeTokens, encoded_length

#: Longer image URLs are refused: a vendor without image support could read them as text.
MOST_URL = 8192

log = logging.getLogger(__name__)


def byte_length(text: str) -> int:
    """The length in UTF-8: byte-level BPE never makes more tokens than bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has: one for four ASCII characters, or for one other character."""
    if text.isascii():
        return -(-len(text) // 4)
    other = len(text) - len(text.encode("ascii", "ignore"))
    return other - (other - len(text)) // 4


def counted_by(lane: Lane, model: str, text: str) -> int | None:
    """The lane's own count of a text; None where it has none or fails. A failure must not prevent a settlement."""
    try:
        counted = lane.count_tokens(model, text)
    except Exception:
        log.exception("a lane's count_tokens failed for model %s", model)
        return None
    return counted if isinstance(counted, int) and counted >= 0 else None


def texts_of(message: Message) -> list[str]:
    """Every text in a message that a vendor tokenizes."""
    texts = [] if message.name is None else [message.name]
    for part in message.parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, ToolCallPart):
            texts += [part.id, part.name, part.arguments, part.opaque or ""]
        elif isinstance(part, ToolResultPart):
            texts += [part.id, part.text]
        elif isinstance(part, ReasoningPart):
            texts += [part.text, part.opaque or ""]
    return texts


def most_input_tokens(request: ChatRequest, deployment: Deployment) -> int:
    """An upper bound of the request's input tokens, as it goes out: counted where the lane can, else bounded by bytes.

    Raises `Unprocessable` for an image where the operator has not set `image_tokens`.
    """
    lane = deployment.lane
    assert lane is not None

    def most(text: str) -> int:
        counted = counted_by(lane, deployment.upstream, text)
        return byte_length(text) if counted is None else counted

    turns = breaks = 0
    for message in request.messages:
        turns += count_turns(message)
        breaks += len(message.parts)  # a line break between two of them
    bound = lane.request_overhead_tokens + lane.message_overhead_tokens * turns + breaks
    if request.tools or (request.native is not None and request.native.body.get("tools")):
        bound += lane.tools_overhead_tokens + lane.message_overhead_tokens * len(request.tools)
    tokens, images = tokens_going_out(request, most, deployment.image_tokens or 0)
    if images and deployment.image_tokens is None:
        raise Unprocessable(
            f"model `{deployment.model}` takes no images",
            hint="Send text, or ask the operator to set image_tokens for it.",
        )
    return bound + tokens


def tokens_going_out(request: ChatRequest, count: Callable[[str], int], image_tokens: int) -> tuple[int, int]:
    """The tokens of everything that goes to the vendor, each text counted by `count`, and the number of images.

    Raises `Unprocessable` for an image whose URL is too long.
    """
    images = sum(count_images(message) for message in request.messages)
    if request.native is not None:
        body = request.native.body
        native = NativeTokens(count, image_tokens, body.get("tools"))
        return native.body(body), max(images, native.images)
    tokens = sum(count(text) for message in request.messages for text in texts_of(message))
    tokens += sum(map(count, tool_names_of_results(request.messages)))
    tokens += images * image_tokens + encoded_length((request.tools, request.response_format))
    further = (request.stop, request.user, request.tool_choice if isinstance(request.tool_choice, ToolName) else None)
    return tokens + sum(encoded_length(one) for one in further if one), images


def count_turns(message: Message) -> int:
    """How many turns a vendor makes of a message: itself, and for many vendors each tool call and tool result in it."""
    if has_one_text(message):
        return 1
    return 1 + sum(isinstance(part, ToolCallPart | ToolResultPart) for part in message.parts)


def has_one_text(message: Message) -> bool:
    """Whether a message is one text, as most are."""
    return len(message.parts) == 1 and type(message.parts[0]) is TextPart


def tool_names_of_results(messages: Iterable[Message]) -> Iterable[str]:
    """The tool's name for each tool result: some vendors need it beside the id."""
    names: dict[str, str] = {}
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                names[part.id] = part.name
            elif isinstance(part, ToolResultPart):
                yield names.get(part.id, "")


def count_images(message: Message) -> int:
    """How many images a message has, in tool results too. Raises `Unprocessable` for a URL that is too long."""
    if has_one_text(message):
        return 0
    parts = list(message.parts)
    parts += [inner for part in message.parts if isinstance(part, ToolResultPart) for inner in part.content]
    images = [part for part in parts if isinstance(part, ImagePart)]
    if any(len(image.url) > MOST_URL and not image.url.startswith("data:") for image in images):
        raise Unprocessable(f"an image's URL is longer than {MOST_URL} characters", field="messages")
    return len(images)


def most_embed_tokens(request: EmbedRequest, deployment: Deployment) -> int:
    """An upper bound of an embedding call's tokens."""
    lane = deployment.lane
    assert lane is not None
    bound = lane.request_overhead_tokens + lane.message_overhead_tokens * len(request.inputs)
    return bound + sum(most_tokens_of(one, lane, deployment.upstream) for one in request.inputs)


def most_tokens_of(one: str | tuple[int, ...], lane: Lane, model: str) -> int:
    """An upper bound of the tokens of one input of an embedding call."""
    if not isinstance(one, str):
        return len(one)
    counted = counted_by(lane, model, one)
    return byte_length(one) if counted is None else counted


def estimated_embed_tokens(inputs: Iterable[str | tuple[int, ...]]) -> int:
    """About how many tokens the inputs have."""
    return sum(max(1, estimated_tokens(one)) if isinstance(one, str) else len(one) for one in inputs)


def counted_input_tokens(request: ChatRequest, deployment: Deployment) -> int:
    """About how many input tokens the request has, for a bill without the vendor's usage; never more than its bound."""
    lane = deployment.lane
    assert lane is not None

    def about(text: str) -> int:
        counted = counted_by(lane, deployment.upstream, text)
        return estimated_tokens(text) if counted is None else counted

    tokens, _ = tokens_going_out(request, about, deployment.image_tokens or 0)
    # Outside the conversation JSON was counted by its bytes. About four make a token; settings make none.
    if request.native is None:
        counted = encoded_length((request.tools, request.response_format))
        texts = counted if request.tools or request.response_format is not None else 0
    else:
        beside = {name: value for name, value in request.native.body.items() if name not in CONVERSATION}
        counted = encoded_length(beside)
        texts = sum(encoded_length(value) for value in beside.values() if isinstance(value, dict | list))
    return tokens - counted + -(-texts // 4) + 4 * len(request.messages)
