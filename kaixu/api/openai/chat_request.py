"""Translate an OpenAI chat completion request into a `ChatRequest`.

To add a field of OpenAI's: read it in `parse_chat_request`. Messages are parsed in `chat_messages.py`, tools in
`chat_tools.py`.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from kaixu.api.cache_points import read_cache_point, with_cache_point
from kaixu.api.dropped_fields import UNSUPPORTED_BY_VENDOR, DroppedFields
from kaixu.api.request_defaults import remove_defaults
from kaixu.catalog.catalog import Deployment
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Unsupported
from kaixu.plugin.types import ChatRequest, Native, Reasoning, ResponseFormat

from .chat_messages import ChatMessagesParser
from .chat_tools import ChatTools
from .text_chat import MAX_TOKENS, read_text_chat

PROTOCOL = "openai.chat"
MAX_ANSWERS = 128
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

#: The field of each feature, for errors.
FEATURE_FIELDS = {
    "reasoning": "reasoning_effort",
    "images": "messages",
    "tool_result_images": "messages",
    "names": "messages[].name",
}

#: Fields that do not change the answer. They are not translated, and not reported as dropped.
IGNORED = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "store",
        "stream",
        "stream_options",
    }
)
#: Fields that change the answer. Lanes of other protocols refuse them.
REFUSED = frozenset(
    {"audio", "logit_bias", "logprobs", "moderation", "modalities", "prediction", "top_logprobs", "web_search_options"}
)
#: Values that mean the default, with which a field is accepted.
DEFAULT_VALUES: dict[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "default", "flex"),
    "logprobs": (False,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "top_logprobs": (0,),
}


def parse_chat_request(body: dict[str, Any], deployment: Deployment, *, most_messages: int) -> ChatRequest:
    """Translate the body for a deployment.

    A lane of OpenAI's protocol gets the body unchanged (`native`). For other lanes every
    field is translated, dropped or refused. Raises `Invalid`, `Unprocessable`, `Unsupported`.
    """
    simple = read_text_chat(body, deployment, protocol=PROTOCOL, most_messages=most_messages)
    return simple or parse_any(body, deployment, most_messages=most_messages)


def parse_any(body: dict[str, Any], deployment: Deployment, *, most_messages: int) -> ChatRequest:
    """Translate a body that may have any fields; see `parse_chat_request`."""
    is_native = deployment.native == PROTOCOL
    dropped_fields = DroppedFields(deployment)
    fields = Fields(body)
    fields.used |= {"model"} | IGNORED
    parser = ChatMessagesParser()
    tools = ChatTools(fields, dropped_fields, native=is_native, allow=deployment.allow)
    messages = parser.parse(fields, most_messages)
    cache = read_cache_point(fields)
    request = ChatRequest(
        model=deployment.upstream,
        messages=(*messages[:-1], with_cache_point(messages[-1], cache)),
        max_tokens=read_max_tokens(fields, deployment),
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        top_k=None if is_native else read_top_k(fields, deployment),
        stop=read_stop(fields),
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        presence_penalty=fields.number("presence_penalty", -2, 2),
        frequency_penalty=fields.number("frequency_penalty", -2, 2),
        tools=tools.tools,
        tool_choice=tools.choice,
        parallel_tool_calls=tools.parallel(deployment),
        response_format=read_response_format(fields, native=is_native),
        reasoning=read_reasoning(fields, native=is_native),
        verbosity=fields.text("verbosity", most=40),
        user=fields.text("safety_identifier", most=500) or fields.text("user", most=500),
        n=fields.integer("n", 1, MAX_ANSWERS) or 1,
        native=Native(PROTOCOL, tools.native_body(body)) if is_native else None,
    )
    fields.used.add("user")
    if not is_native:
        refuse_unsupported(fields)
        dropped_fields.unknown(parser.unknown_fields + fields.unread())
    return remove_defaults(replace(request, dropped=dropped_fields.dropped))


def refuse_unsupported(fields: Fields) -> None:
    """Refuse unknown fields that change the answer, unless they have a default value. Raises `Unsupported`."""
    for field, value in fields.value.items():
        if field in fields.used or value is None:
            continue
        if value in DEFAULT_VALUES.get(field, ()):
            fields.used.add(field)
        elif field in REFUSED or field == "service_tier":
            raise Unsupported(field, UNSUPPORTED_BY_VENDOR)


def read_top_k(fields: Fields, deployment: Deployment) -> int | None:
    """`top_k`, which many OpenAI-compatible vendors support; unread if the lane does not."""
    lane = deployment.lane
    known = lane is not None and "top_k" in lane.supports and isinstance(fields.value.get("top_k"), int | float)
    return fields.integer("top_k", -1, 2**31 - 1) if known and (fields.value["top_k"] > 0) else None


def read_max_tokens(fields: Fields, deployment: Deployment) -> int:
    """The token limit of the answer; `max_completion_tokens`, the newer name, has precedence."""
    older = fields.integer("max_tokens", 1, MAX_TOKENS)
    limit = fields.integer("max_completion_tokens", 1, MAX_TOKENS) or older or deployment.default_output_tokens
    return min(limit, deployment.max_output_tokens)


def read_stop(fields: Fields) -> tuple[str, ...]:
    """`stop`: a text, or a list of texts."""
    value = fields.get("stop")
    texts = [value] if isinstance(value, str) else value
    if texts is None:
        return ()
    if not isinstance(texts, list) or len(texts) > 16 or not all(isinstance(text, str) and text for text in texts):
        raise fields.invalid("stop", "must be a text or up to 16 of them, none empty")
    if any(len(text) > 1000 for text in texts):
        raise fields.invalid("stop", "has a text longer than 1000 characters")
    return tuple(texts)


def read_response_format(fields: Fields, *, native: bool) -> ResponseFormat | None:
    """`response_format`: JSON by a schema, or any JSON object; None for text."""
    response_format = fields.nested("response_format")
    if response_format is None:
        return None
    kind = response_format.text("type", most=100)
    if kind == "text":
        return None
    if kind == "json_object":
        return ResponseFormat()
    schema = response_format.nested("json_schema")
    if kind != "json_schema" or schema is None:
        if native and kind is not None and kind != "json_schema":
            return None
        raise invalid_format(response_format)
    return ResponseFormat(
        schema.raw_object("schema") or {},
        schema.text("name", most=200) or "answer",
        schema.text("description"),
        schema.flag("strict"),
    )


def invalid_format(response_format: Fields) -> Exception:
    """The error for an unknown or incomplete format."""
    return response_format.invalid("type", "must be text, json_object or json_schema with `json_schema`")


def read_reasoning(fields: Fields, *, native: bool) -> Reasoning | None:
    """`reasoning_effort`; native lanes get unknown values unchanged."""
    effort = fields.text("reasoning_effort", most=100)
    if effort is not None and effort not in EFFORTS and not native:
        raise fields.invalid("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
    return None if effort is None else Reasoning(effort)
