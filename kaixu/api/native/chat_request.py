"""Translate a native chat request into a `ChatRequest`.

Unknown fields are ignored, and so are values of `max_tokens` and `temperature` that are not numbers, because clients
rely on both. Newer fields have OpenAI's format. To add one: read it in `parse_native_chat_request`.
"""

from __future__ import annotations

from typing import Any

from kaixu.api.dropped_fields import DroppedFields
from kaixu.api.openai.chat_messages import ChatMessagesParser
from kaixu.api.openai.chat_request import FEATURE_FIELDS as OPENAI_FEATURES
from kaixu.api.openai.chat_request import read_reasoning, read_response_format, read_stop
from kaixu.api.openai.chat_tools import ChatTools
from kaixu.api.request_defaults import remove_defaults
from kaixu.catalog.catalog import Deployment
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Invalid, Unprocessable
from kaixu.plugin.types import ChatRequest

MAX_TOKENS = 10_000_000
MAX_NAME = 200
MAX_USER = 500
FEATURE_FIELDS = OPENAI_FEATURES


def read_model_names(body: dict[str, Any]) -> tuple[str | None, str]:
    """The fields `provider`, which may be missing, and `model`. Raises `Invalid`, `Unprocessable`."""
    provider = body.get("provider")
    return None if provider is None else read_name(provider, "provider"), read_name(body.get("model"), "model")


def read_name(value: object, field: str) -> str:
    """A provider's or model's name. Raises `Invalid`, `Unprocessable`."""
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"`{field}` is missing", hint=f"Send `{field}` as text.", field=field)
    if len(value) > MAX_NAME or not value.isprintable():
        raise Unprocessable(f"`{field}` is not a name", field=field)
    return value.strip()


def parse_native_chat_request(body: dict[str, Any], deployment: Deployment, *, most_messages: int) -> ChatRequest:
    """Translate the body for a deployment. Raises `Invalid`, `Unprocessable`, `Unsupported`, naming the field."""
    fields = Fields(body)
    dropped_fields = DroppedFields(deployment)
    tools = ChatTools(fields, dropped_fields, native=False, allow=())
    request = ChatRequest(
        model=deployment.upstream,
        messages=ChatMessagesParser(lenient=True).parse(fields, most_messages),
        max_tokens=read_max_tokens(body.get("max_tokens"), deployment),
        temperature=read_temperature(body.get("temperature")),
        top_p=fields.number("top_p", 0, 1),
        stop=read_stop(fields),
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        tools=tools.tools,
        tool_choice=tools.choice,
        parallel_tool_calls=tools.parallel(deployment),
        response_format=read_response_format(fields, native=False),
        reasoning=read_reasoning(fields, native=False),
        user=read_user(body.get("user")),
        dropped=dropped_fields.dropped,
    )
    return remove_defaults(request)


def read_user(value: object) -> str | None:
    """The client's name for its own user; other values than text are ignored."""
    return value[:MAX_USER] if isinstance(value, str) and value else None


def is_number(value: object) -> bool:
    """Whether it is a number, and not NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def read_max_tokens(value: Any, deployment: Deployment) -> int:
    """The token limit of the answer."""
    limit = deployment.default_output_tokens
    if is_number(value):
        if value < 1:
            raise Unprocessable("`max_tokens` must be at least 1", field="max_tokens")
        limit = int(min(value, MAX_TOKENS))
    return min(limit, deployment.max_output_tokens)


def read_temperature(value: Any) -> float | None:
    """The temperature, 0 to 2; None: the vendor's default."""
    if not is_number(value):
        return None
    if not 0 <= value <= 2:
        raise Unprocessable("`temperature` must lie between 0 and 2", field="temperature")
    return float(value)
