"""The features that a request uses beyond plain text. A lane without one of them refuses the request."""

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
    """The features that `request` uses."""
    features: list[Feature] = [field for field in FIELDS if getattr(request, field) not in (None, ())]
    parts = [part for message in request.messages for part in message.parts]
    results = [part for part in parts if isinstance(part, ToolResultPart)]
    if "tools" not in features and (results or any(isinstance(part, ToolCallPart) for part in parts)):
        features.append("tools")
    if any(isinstance(part, ImagePart) for part in parts):
        features.append("images")
    if any(isinstance(part, ImagePart) for result in results for part in result.content):
        features.append("tool_result_images")
    if any(message.name is not None for message in request.messages):
        features.append("names")
    if request.n > 1:
        features.append("n")
    return features


def refuse_unsupported(lane: Lane, request: ChatRequest) -> None:
    """Raises `Unsupported`, naming the first feature that the lane does not support.

    The features of a native request are for its vendor to judge; only `lane.check` applies.
    """
    if request.native is None:
        for feature in features_of(request):
            if feature not in lane.supports:
                raise Unsupported(feature)
    lane.check(request)
