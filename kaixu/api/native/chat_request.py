"""The native chat request: a JSON object → a checked `ChatRequest`, every field bounded.

Fields that are not known are ignored, and numbers that are none are as good as not
said: clients have come to rely on both. Beyond the oldest fields it speaks OpenAI's language.
"""

from __future__ import annotations

from typing import Any

from kaixu.api.dropped_fields import DroppedFields
from kaixu.api.openai.chat_request import FEATURES as OPENAI_FEATURES
from kaixu.api.openai.chat_request import format_of, reasoning_of, stop_of
from kaixu.api.openai.chat_tools import ChatTools
from kaixu.api.openai.turns import Turns
from kaixu.api.usual_fields import without_the_usual
from kaixu.catalog.catalog import Deployment
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Invalid, Unprocessable
from kaixu.plugin.types import ChatRequest

MOST_TOKENS = 10_000_000
MOST_NAME = 200
FEATURES = OPENAI_FEATURES


def names_in(body: dict[str, Any]) -> tuple[str | None, str]:
    """Provider and model; a model's name may hold the provider's, or need none. Raises `Invalid`, `Unprocessable`."""
    provider = body.get("provider")
    return None if provider is None else name_of(provider, "provider"), name_of(body.get("model"), "model")


def name_of(value: object, field: str) -> str:
    """A provider's or model's name. Raises `Invalid`, `Unprocessable`."""
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"`{field}` is missing", hint=f"Send `{field}` as text.", field=field)
    if len(value) > MOST_NAME or not value.isprintable():
        raise Unprocessable(f"`{field}` is not a name", field=field)
    return value.strip()


def request_of(body: dict[str, Any], deployment: Deployment, *, most_messages: int) -> ChatRequest:
    """The call for a deployment. Raises `Invalid` and `Unprocessable`, naming the field."""
    fields = Fields(body)
    beyond = DroppedFields(deployment)
    tools = ChatTools(fields, beyond, native=False, allow=())
    request = ChatRequest(
        model=deployment.upstream,
        messages=Turns(lenient=True).read(fields, most_messages),
        max_tokens=max_tokens_of(body.get("max_tokens"), deployment),
        temperature=temperature_of(body.get("temperature")),
        top_p=fields.number("top_p", 0, 1),
        stop=stop_of(fields),
        seed=fields.whole("seed", -(2**63), 2**63 - 1),
        tools=tools.tools,
        tool_choice=tools.choice,
        parallel_tool_calls=tools.parallel(deployment),
        response_format=format_of(fields, native=False),
        reasoning=reasoning_of(fields, native=False),
        dropped=beyond.dropped,
    )
    return without_the_usual(request)


def is_number(value: object) -> bool:
    """Whether it is a number that can be counted with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def max_tokens_of(value: Any, deployment: Deployment) -> int:
    """How many tokens at most."""
    wanted = deployment.default_output_tokens
    if is_number(value):
        if value < 1:
            raise Unprocessable("`max_tokens` must be at least 1", field="max_tokens")
        wanted = int(min(value, MOST_TOKENS))
    return min(wanted, deployment.max_output_tokens)


def temperature_of(value: Any) -> float | None:
    """The temperature, 0 to 2; None leaves it to the vendor."""
    if not is_number(value):
        return None
    if not 0 <= value <= 2:
        raise Unprocessable("`temperature` must lie between 0 and 2", field="temperature")
    return float(value)
