"""OpenAI's chat request → the contract's `ChatRequest`: translated, passed through, or refused by name."""

from __future__ import annotations

from typing import Any

from kaixu.catalog.catalog import Deployment
from kaixu.http.fields import Fields
from kaixu.plugin.errors import Unsupported
from kaixu.plugin.types import ChatRequest, Native, Reasoning, ResponseFormat, Tool, ToolName

from .turns import Turns

PROTOCOL = "openai.chat"
MOST_TOKENS = 10_000_000
MOST_TOOLS = 1024
MOST_ANSWERS = 128
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

#: What OpenAI calls the contract's features, for errors.
FEATURES = {
    "reasoning": "reasoning_effort",
    "images": "messages",
    "tool_result_images": "messages",
    "names": "messages[].name",
}

#: Fields that change nothing about the answer: other vendors are not told, and nothing is lost.
WITHOUT_EFFECT = frozenset(
    {"metadata", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "stream", "stream_options"}
)
#: Fields that ask for nothing when they say this.
ASK_FOR_NOTHING: dict[str, tuple[Any, ...]] = {
    "store": (False,),
    "service_tier": ("auto", "default"),
    "logprobs": (False,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "functions": ([],),
    "top_logprobs": (0,),
}


def chat_request(body: dict[str, Any], deployment: Deployment, *, most_messages: int) -> ChatRequest:
    """The call for a deployment.

    A lane that speaks OpenAI's protocol gets the body as it is. For others every
    field is translated or refused. Raises `Invalid`, `Unprocessable`, `Unsupported`.
    """
    fields = Fields(body)
    fields.taken |= {"model"} | WITHOUT_EFFECT
    turns = Turns()
    native = Native(PROTOCOL, body) if deployment.native == PROTOCOL else None
    request = ChatRequest(
        model=deployment.upstream,
        messages=turns.read(fields, most_messages),
        max_tokens=max_tokens_of(fields, deployment),
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        stop=stop_of(fields),
        seed=fields.whole("seed", -(2**63), 2**63 - 1),
        presence_penalty=fields.number("presence_penalty", -2, 2),
        frequency_penalty=fields.number("frequency_penalty", -2, 2),
        tools=tools_of(fields, native=native is not None),
        tool_choice=tool_choice_of(fields, native=native is not None),
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        response_format=format_of(fields, native=native is not None),
        reasoning=reasoning_of(fields, native=native is not None),
        user=fields.text("safety_identifier", most=500) or fields.text("user", most=500),
        n=fields.whole("n", 1, MOST_ANSWERS) or 1,
        native=native,
    )
    fields.taken.add("user")
    if native is None:
        beyond = turns.beyond + [name for name in fields.rest() if body[name] not in ASK_FOR_NOTHING.get(name, ())]
        if beyond:
            raise Unsupported(beyond[0], "the vendor of this model has nothing like it")
    return request


def max_tokens_of(fields: Fields, deployment: Deployment) -> int:
    """How many tokens at most; the newer of the two names wins."""
    older = fields.whole("max_tokens", 1, MOST_TOKENS)
    wanted = fields.whole("max_completion_tokens", 1, MOST_TOKENS) or older or deployment.default_output_tokens
    return min(wanted, deployment.max_output_tokens)


def stop_of(fields: Fields) -> tuple[str, ...]:
    """One text or a few."""
    value = fields.take("stop")
    texts = [value] if isinstance(value, str) else value
    if texts is None:
        return ()
    if not isinstance(texts, list) or len(texts) > 16 or not all(isinstance(text, str) and text for text in texts):
        raise fields.wrong("stop", "must be a text or up to 16 of them, none empty")
    if any(len(text) > 1000 for text in texts):
        raise fields.wrong("stop", "holds a text longer than 1000 characters")
    return tuple(texts)


def tools_of(fields: Fields, *, native: bool) -> tuple[Tool, ...]:
    """The functions. Tools of other kinds are the vendor's to understand, or refused."""
    tools = []
    for entry in fields.objects("tools", most=MOST_TOOLS) or ():
        if entry.text("type", most=100) != "function":
            if native:
                continue  # its own vendor's to understand; the core refuses those that cost extra
            raise Unsupported(entry.name("type"), "only functions are taken as tools here")
        function = entry.inner("function")
        if function is None:
            raise entry.wrong("function", "is missing")
        tools.append(
            Tool(
                function.needed_text("name", most=200),
                function.text("description"),
                function.plain("parameters"),
                function.flag("strict"),
            )
        )
        if not native and (beyond := function.rest() + entry.rest()):
            raise Unsupported(beyond[0], "the vendor of this model has nothing like it")
    return tuple(tools)


def tool_choice_of(fields: Fields, *, native: bool) -> Any:
    """A word, or the function that must be called."""
    value = fields.take("tool_choice")
    if value is None or value in ("auto", "none", "required"):
        return value
    if isinstance(value, dict):
        function = value.get("function")
        if value.get("type") == "function" and isinstance(function, dict) and isinstance(function.get("name"), str):
            return ToolName(function["name"])
        if native:
            return None
        raise Unsupported("tool_choice", "the vendor of this model has nothing like it")
    raise fields.wrong("tool_choice", "must be auto, none, required or name a function")


def format_of(fields: Fields, *, native: bool) -> ResponseFormat | None:
    """JSON of a schema, any JSON object, or (None) text."""
    wanted = fields.inner("response_format")
    if wanted is None:
        return None
    kind = wanted.text("type", most=100)
    if kind == "text":
        return None
    if kind == "json_object":
        return ResponseFormat()
    schema = wanted.inner("json_schema")
    if kind != "json_schema" or schema is None:
        if native and kind is not None and kind != "json_schema":
            return None
        raise wrong_format(wanted)
    return ResponseFormat(
        schema.plain("schema") or {},
        schema.text("name", most=200) or "answer",
        schema.text("description"),
        schema.flag("strict"),
    )


def wrong_format(wanted: Fields) -> Exception:
    """The error of a format that says nothing."""
    return wanted.wrong("type", "must be text, json_object or json_schema with `json_schema`")


def reasoning_of(fields: Fields, *, native: bool) -> Reasoning | None:
    """How much to think, in a word; a word that is new is for the vendor to know."""
    effort = fields.text("reasoning_effort", most=100)
    if effort is not None and effort not in EFFORTS and not native:
        raise fields.wrong("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
    return None if effort is None else Reasoning(effort)
