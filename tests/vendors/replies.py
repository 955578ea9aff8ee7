"""What a client gets from each door, and what that door reads when the client sends it again with its next turn.

Streams are put together by the vendors' own clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
from anthropic import Anthropic
from openai import OpenAI

from kaixu.api.anthropic.reply import message
from kaixu.api.anthropic.request import message_request
from kaixu.api.anthropic.stream import MessageStreamEncoder
from kaixu.api.openai.chat_reply import ChatStreamEncoder, completion
from kaixu.api.openai.chat_request import chat_request
from kaixu.api.openai.responses_reply import Responder
from kaixu.api.openai.responses_request import responses_request
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.types import ChatEvent, ChatRequest, ToolCallDelta
from tests.api.anthropic.conftest import Thinking, deployment, ticket

NOWHERE = "http://gateway.test"
HELLO: dict[str, Any] = {"role": "user", "content": "hello"}


def as_openai(body: dict[str, Any]) -> ChatRequest:
    """What OpenAI's door reads, for a lane of another protocol: what that has no word for is an error."""
    return chat_request(body, deployment(Thinking), most_messages=100)


def as_anthropic(body: dict[str, Any]) -> ChatRequest:
    """The same of Anthropic's door."""
    return message_request(body, deployment(Thinking), most_messages=100)


def ids_in(events: list[ChatEvent]) -> list[str]:
    """The tool calls that want a result."""
    return [event.id for event in events if isinstance(event, ToolCallDelta) and event.id]


def frames(speaker: Any, settled: ChatTicket, events: list[ChatEvent]) -> bytes:
    """A whole stream."""
    said: list[bytes] = [speaker.begin(settled), *(speaker.event(event) for event in events), speaker.done(settled)]
    return b"".join(said)


def connection(stream: bytes) -> httpx2.Client:
    """A client's connection to a door that says this."""
    headers = {"content-type": "text/event-stream"}
    return httpx2.Client(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, content=stream, headers=headers))
    )


def after_chat(events: list[ChatEvent], *, stream: bool) -> ChatRequest:
    """`/v1/chat/completions`."""
    settled = ticket()
    if stream:
        said = frames(ChatStreamEncoder("m", native=False, include_usage=True), settled, events)
        with (
            OpenAI(api_key="k", base_url=NOWHERE, http_client=connection(said)) as client,
            client.chat.completions.stream(model="m", messages=[]) as answer,
        ):
            reply = answer.get_final_completion().choices[0].message.to_dict()
    else:
        reply = completion(settled, events, "m")["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": id, "content": "x"} for id in ids_in(events)]
    return as_openai({"model": "m", "messages": [HELLO, reply, *results]})


def after_responses(events: list[ChatEvent], *, stream: bool) -> ChatRequest:
    """`/v1/responses`."""
    settled, responder = ticket(), Responder({}, "m")
    said = frames(responder, settled, events)
    output: Any = responder.whole(settled)["output"]
    if stream:
        with (
            OpenAI(api_key="k", base_url=NOWHERE, http_client=connection(said)) as client,
            client.responses.stream(model="m", input="hello") as answer,
        ):
            output = [item.to_dict() for item in answer.get_final_response().output]
            for item in output:
                for part in (item, *(item.get("content") or ())):
                    part.pop("parsed_arguments", None)  # the client's own, which it leaves out when it sends them
                    part.pop("parsed", None)
    results = [{"type": "function_call_output", "call_id": id, "output": "x"} for id in ids_in(events)]
    return responses_request({"input": [HELLO, *output, *results]}, deployment(Thinking), most_messages=100)


def after_messages(events: list[ChatEvent], *, stream: bool) -> ChatRequest:
    """`/v1/messages`."""
    settled = ticket()
    if stream:
        said = frames(MessageStreamEncoder("m", native=False), settled, events)
        with (
            Anthropic(api_key="k", base_url=NOWHERE, http_client=connection(said)) as client,
            client.messages.stream(model="m", messages=[], max_tokens=9) as answer,
        ):
            content: Any = [block.to_dict() for block in answer.get_final_message().content]
    else:
        content = message(settled, events, "m")["content"]
    results = [{"type": "tool_result", "tool_use_id": id, "content": "x"} for id in ids_in(events)]
    turns = [HELLO, {"role": "assistant", "content": content}, {"role": "user", "content": results or "go on"}]
    return as_anthropic({"model": "m", "max_tokens": 9, "messages": turns})


DOORS: dict[str, Callable[[list[ChatEvent]], ChatRequest]] = {
    "chat": lambda events: after_chat(events, stream=False),
    "chat, streamed": lambda events: after_chat(events, stream=True),
    "responses": lambda events: after_responses(events, stream=False),
    "responses, streamed": lambda events: after_responses(events, stream=True),
    "anthropic": lambda events: after_messages(events, stream=False),
    "anthropic, streamed": lambda events: after_messages(events, stream=True),
}
