"""Remove fields with default values from a translated request."""

from __future__ import annotations

from msgspec.structs import replace

from kaixu.plugin.types import ChatRequest


def remove_defaults(request: ChatRequest) -> ChatRequest:
    """The request without fields that have every vendor's default value.

    A lane without a feature would refuse a request with the feature's default value.
    """
    if request.native is not None:
        return request
    choice, parallel = request.tool_choice, request.parallel_tool_calls
    if choice == "auto" or (choice == "none" and not request.tools):
        choice = None
    if parallel is True or not request.tools:
        parallel = None
    return replace(
        request,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        presence_penalty=request.presence_penalty or None,
        frequency_penalty=request.frequency_penalty or None,
    )
