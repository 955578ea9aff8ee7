"""Chat requests of the contract as hypothesis makes them: all that a protocol can say, each in the one form it has there."""

from __future__ import annotations

import string
from typing import Any

import msgspec
from hypothesis import strategies as st

from kaixu.plugin.types import (
    ChatRequest,
    ImagePart,
    Message,
    Part,
    Reasoning,
    ReasoningPart,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCallPart,
    ToolName,
    ToolResultPart,
)

ENCODER = msgspec.json.Encoder()
texts = st.text(min_size=1, max_size=20)
#: What is only white space is dropped on the way to Anthropic, which would refuse it.
words = texts.filter(lambda text: bool(text.strip()))
tokens = st.text(string.ascii_letters + string.digits + "+/=", min_size=4, max_size=20)
names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(texts, values, max_size=3)
schemas = objects.map(lambda schema: schema | {"type": "object"})
pictures = st.one_of(
    st.binary(min_size=1, max_size=9).map(lambda data: f"data:image/png;base64,{data.hex()}"),
    names.map(lambda name: f"https://example.com/{name}.jpg"),
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """It, or None."""
    return st.none() | strategy


def parts(strategy: st.SearchStrategy[Any], least: int, most: int) -> st.SearchStrategy[tuple[Part, ...]]:
    """A few parts."""
    return st.lists(strategy, min_size=least, max_size=most).map(tuple)


@st.composite
def calls(draw: st.DrawFn, ids: st.SearchStrategy[str], *, any_text: bool) -> tuple[ToolCallPart, ...]:
    """Tool calls; their arguments as the model wrote them (`any_text`), or as one JSON object without spaces."""
    made = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    arguments = objects.map(lambda value: ENCODER.encode(value).decode())
    return tuple(ToolCallPart(id, draw(names), draw(st.text(max_size=20) if any_text else arguments)) for id in made)


# OpenAI's: each result is a turn of its own; any turn may have a name; images may say how closely to look.


@st.composite
def openai_messages(draw: st.DrawFn) -> tuple[Message, ...]:
    """A conversation."""
    text = texts.map(TextPart)
    image = st.builds(ImagePart, pictures, maybe(st.sampled_from(["low", "high", "auto"])))
    messages = []
    for _ in range(draw(st.integers(0, 2))):
        messages.append(
            Message(draw(st.sampled_from(["system", "developer"])), draw(parts(text, 1, 2)), draw(maybe(names)))
        )
    for _ in range(draw(st.integers(1, 3))):
        said = parts(text | image, 1, 3) | st.just((TextPart(""),))
        messages.append(Message("user", draw(said), draw(maybe(names))))
        if draw(st.booleans()):
            asked = draw(calls(texts, any_text=True))
            messages.append(Message("assistant", (*draw(parts(text, 0, 1)), *asked), draw(maybe(names))))
            messages += [Message("tool", (ToolResultPart(call.id, draw(parts(text, 0, 1))),)) for call in asked]  # type: ignore[arg-type]
        if draw(st.booleans()):
            messages.append(Message("assistant", draw(parts(text, 1, 2)), draw(maybe(names))))
    return tuple(messages)


openai_requests = st.builds(
    ChatRequest,
    model=st.just("upstream"),
    messages=openai_messages(),
    max_tokens=st.integers(1, 8192),
    temperature=maybe(st.floats(0, 2)),
    top_p=maybe(st.floats(0, 1)),
    stop=st.lists(texts, max_size=4).map(tuple),
    seed=maybe(st.integers(-(2**63), 2**63 - 1)),
    presence_penalty=maybe(st.floats(-2, 2)),
    frequency_penalty=maybe(st.floats(-2, 2)),
    tools=st.lists(st.builds(Tool, names, maybe(texts), maybe(objects), maybe(st.booleans())), max_size=3).map(tuple),
    tool_choice=maybe(st.sampled_from(["auto", "none", "required"]) | st.builds(ToolName, names)),
    parallel_tool_calls=maybe(st.booleans()),
    response_format=maybe(
        st.builds(ResponseFormat, objects, names, maybe(texts), maybe(st.booleans())) | st.just(ResponseFormat())
    ),
    reasoning=maybe(st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"]).map(Reasoning)),
    user=maybe(texts),
)


# Anthropic's: user and assistant by turns, results first in the user's, one text for the system before all.


@st.composite
def anthropic_messages(draw: st.DrawFn, *, shared: bool = False) -> tuple[Message, ...]:
    """A conversation that the user has the last word in. `shared`: OpenAI can say it, too."""
    text, image = words.map(TextPart), st.builds(ImagePart, pictures)
    thought: st.SearchStrategy[ReasoningPart] = st.builds(ReasoningPart, texts, tokens)
    thoughts = st.just(()) if shared else parts(thought | tokens.map(lambda token: ReasoningPart("", token)), 0, 2)
    messages = [Message("system", (TextPart(draw(words)),))] if draw(st.booleans()) else []
    waiting: tuple[Part, ...] = ()
    for _ in range(draw(st.integers(0, 2))):
        messages.append(Message("user", waiting + draw(parts(text | image, 0 if waiting else 1, 2))))
        asked: tuple[ToolCallPart, ...] = draw(calls(names, any_text=False)) if draw(st.booleans()) else ()
        said = draw(parts(text, 0 if asked else 1, 1))
        messages.append(Message("assistant", draw(thoughts) + said + asked))
        seen = parts(text, 0, 1) if shared else parts(text | image, 0, 2)
        failed = st.just(False) if shared else st.booleans()
        waiting = tuple(ToolResultPart(call.id, draw(seen), draw(failed)) for call in asked)  # type: ignore[arg-type]
    messages.append(Message("user", waiting + draw(parts(text | image, 0 if waiting else 1, 2))))
    return tuple(messages)


@st.composite
def anthropic_requests(draw: st.DrawFn, *, shared: bool = False) -> ChatRequest:
    """A request. `shared`: OpenAI can say it, too."""
    tools = draw(st.lists(st.builds(Tool, names, maybe(texts), schemas, maybe(st.booleans())), max_size=3))
    choice = draw(maybe(st.sampled_from(["auto", "none", "required"]) | st.builds(ToolName, names)))
    one_by_one = choice not in (None, "none") and draw(st.booleans())
    efforts = st.sampled_from(["none", "low", "medium", "high", "xhigh"] + ([] if shared else ["max"]))
    reasoning = efforts.map(Reasoning)
    if not shared:
        reasoning |= st.integers(1024, 4096).map(lambda budget: Reasoning(None, budget))
    thinks = draw(maybe(reasoning))
    if thinks is not None and thinks.effort != "none" and (choice == "required" or isinstance(choice, ToolName)):
        thinks = None  # which Anthropic does not take
    return ChatRequest(
        model="upstream",
        messages=draw(anthropic_messages(shared=shared)),
        max_tokens=draw(st.integers(5000, 8192)),
        temperature=draw(maybe(st.floats(0, 1))),
        top_p=draw(maybe(st.floats(0, 1))),
        top_k=None if shared else draw(maybe(st.integers(1, 500))),
        stop=tuple(draw(st.lists(words, max_size=4))),
        tools=tuple(tools),
        tool_choice=choice,
        parallel_tool_calls=False if one_by_one else None,
        response_format=draw(maybe(st.builds(ResponseFormat, objects, strict=st.just(True)))),
        reasoning=thinks,
        user=draw(maybe(texts)),
    )


# Google's: as Anthropic's, but results are a turn of their own, and so is what the user says after them.


@st.composite
def google_messages(draw: st.DrawFn) -> tuple[Message, ...]:
    """A conversation that the user has the last word in."""
    text, image = texts.map(TextPart), st.builds(ImagePart, pictures)
    shown = st.builds(ImagePart, pictures.filter(lambda url: url.startswith("data:")))
    signed = tokens.map(lambda token: f"gemini:{token}")
    thought: st.SearchStrategy[Part] = st.builds(ReasoningPart, st.just("") | texts, signed)
    messages = [Message("system", (TextPart(rule),)) for rule in draw(st.lists(texts, max_size=2))]
    for _ in range(draw(st.integers(0, 2))):
        messages.append(Message("user", draw(parts(text | image, 1, 2))))
        asked: tuple[ToolCallPart, ...] = draw(calls(names, any_text=False)) if draw(st.booleans()) else ()
        if asked:
            asked = (msgspec.structs.replace(asked[0], opaque=draw(maybe(tokens))), *asked[1:])
        said = draw(parts(text, 0 if asked else 1, 1))
        messages.append(Message("assistant", draw(parts(thought, 0, 2)) + said + asked))
        if asked:
            answers = parts(words.filter(lambda word: not word.startswith("{")).map(TextPart), 0, 1)
            results = [
                ToolResultPart(call.id, draw(answers) + draw(parts(shown, 0, 1)), draw(st.booleans()))  # type: ignore[arg-type]
                for call in asked
            ]
            messages.append(Message("user", tuple(results)))
    messages.append(Message("user", draw(parts(text | image, 1, 2))))
    return tuple(messages)


google_requests = st.builds(
    ChatRequest,
    model=st.just("gemini-3.5-flash"),
    messages=google_messages(),
    max_tokens=st.integers(1, 8192),
    temperature=maybe(st.floats(0, 2)),
    top_p=maybe(st.floats(0, 1)),
    top_k=maybe(st.integers(1, 500)),
    stop=st.lists(texts, max_size=5).map(tuple),
    seed=maybe(st.integers(-(2**31), 2**31 - 1)),
    tools=st.lists(st.builds(Tool, names, maybe(texts), maybe(objects)), max_size=3).map(tuple),
    tool_choice=maybe(st.sampled_from(["auto", "none", "required"]) | st.builds(ToolName, names)),
    response_format=maybe(st.builds(ResponseFormat, objects)),
    reasoning=maybe(st.sampled_from(["minimal", "low", "medium", "high"]).map(Reasoning)),
)
