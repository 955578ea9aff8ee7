"""What a request asks of a lane beyond plain text, so that nothing is dropped in silence."""

from __future__ import annotations

from kaixu.plugin.errors import Unsupported
from kaixu.plugin.lane import Lane
from kaixu.plugin.types import ChatRequest, Feature, ImagePart, ToolCallPart, ToolResultPart

#: Fields that ask for the feature of their name by being set.
FIELDS: tuple[Feature, ...] = (
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning",
)


def features_of(request: ChatRequest) -> list[Feature]:
    """What `request` asks for."""
    asked: list[Feature] = [field for field in FIELDS if getattr(request, field) not in (None, ())]
    parts = [part for message in request.messages for part in message.parts]
    results = [part for part in parts if isinstance(part, ToolResultPart)]
    if "tools" not in asked and (results or any(isinstance(part, ToolCallPart) for part in parts)):
        asked.append("tools")
    if any(isinstance(part, ImagePart) for part in parts):
        asked.append("images")
    if any(isinstance(part, ImagePart) for result in results for part in result.content):
        asked.append("tool_result_images")
    if any(message.name is not None for message in request.messages):
        asked.append("names")
    if request.n > 1:
        asked.append("n")
    return asked


def refuse_unsupported(lane: Lane, request: ChatRequest) -> None:
    """Raises `Unsupported`, naming the first thing that the lane cannot do.

    What a native request asks for is its vendor's to judge, save what `lane.check` refuses.
    """
    if request.native is None:
        for feature in features_of(request):
            if feature not in lane.supports:
                raise Unsupported(feature)
    lane.check(request)
