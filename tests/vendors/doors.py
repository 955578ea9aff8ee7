"""The gateway's doors as clients see them: one way to ask, and one form of what comes back."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from .stage import MODELS, SECRET

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass
class Call:
    """A tool call."""

    id: str
    name: str
    arguments: str

    @property
    def said(self) -> tuple[str, Any]:
        """Its name, and its arguments read."""
        return self.name, json.loads(self.arguments)


@dataclass
class Said:
    """An answer or an error, from any door. `status` is also that of an error in the middle of a stream."""

    status: int = 200
    text: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str | None = None
    usage: tuple[int, int] | None = None
    cost_usd: str | None = None
    source: str | None = None
    code: str | None = None
    retry_after: str | None = None
    begun: bool = False  # whether anything of an answer came


@dataclass(frozen=True)
class Question:
    """What is asked: words; with tools; and, in a second turn, the calls with what the tools answered."""

    lane: str
    words: str
    stream: bool = False
    tools: bool = False
    calls: tuple[Call, ...] = ()
    results: tuple[str, ...] = ()
    fields: tuple[tuple[str, Any], ...] = ()


class Door(ABC):
    """One door."""

    path = ""

    async def ask(self, http: aiohttp.ClientSession, url: str, key: str, question: Question) -> Said:
        """Ask, and read what comes back to its end."""
        body = self.body(question) | dict(question.fields)
        headers = {"authorization": f"Bearer {key}"}
        async with http.post(url + self.path_of(question), json=body, headers=headers) as response:
            text = await response.text()
            assert SECRET not in text
            said = Said(response.status, retry_after=response.headers.get("retry-after"))
            if response.status != 200:
                self.error(said, json.loads(text))
            elif response.content_type == "text/event-stream":
                for name, event in frames(text):
                    self.event(said, name, event)
            else:
                self.whole(said, json.loads(text))
        return said

    def path_of(self, question: Question) -> str:
        """Where it is."""
        return self.path

    @abstractmethod
    def body(self, question: Question) -> dict[str, Any]:
        """The question in the door's words."""

    @abstractmethod
    def whole(self, said: Said, body: dict[str, Any]) -> None:
        """Read an answer in one piece."""

    @abstractmethod
    def event(self, said: Said, name: str, event: dict[str, Any]) -> None:
        """Read a piece of a stream."""

    @abstractmethod
    def error(self, said: Said, body: dict[str, Any]) -> None:
        """Read an error."""


def frames(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The named events of a stream; comments and OpenAI's last word are none."""
    for frame in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.split("\n") if ": " in line and not line.startswith(":"))
        if lines.get("data", "[DONE]") != "[DONE]":
            yield lines.get("event", ""), json.loads(lines["data"])


def openai_turns(question: Question) -> list[dict[str, Any]]:
    """OpenAI's messages, which the native door takes, too."""
    turns: list[dict[str, Any]] = [{"role": "user", "content": question.words}]
    if question.calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in question.calls
        ]
        turns.append({"role": "assistant", "content": None, "tool_calls": calls})
        for call, result in zip(question.calls, question.results, strict=True):
            turns.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return turns


def openai_tools(question: Question) -> dict[str, Any]:
    """OpenAI's tools, or none."""
    function = {"name": "weather", "description": "the weather in a city", "parameters": PARAMETERS}
    return {"tools": [{"type": "function", "function": function}]} if question.tools else {}


def grow(said: Said, pieces: list[dict[str, Any]] | None) -> None:
    """Add pieces of tool calls; those of a whole answer have no number."""
    for place, piece in enumerate(pieces or ()):
        index = piece.get("index", place)
        if index == len(said.calls):
            said.calls.append(Call(piece["id"], piece["function"]["name"], ""))
        said.calls[index].arguments += piece["function"]["arguments"]


class NativeDoor(Door):
    """`/api/gateway-chat` and `/api/gateway-stream`."""

    def path_of(self, question: Question) -> str:
        return "/api/gateway-stream" if question.stream else "/api/gateway-chat"

    def body(self, question: Question) -> dict[str, Any]:
        names = {"provider": question.lane, "model": MODELS[question.lane]}
        return names | {"messages": openai_turns(question), "max_tokens": 500} | openai_tools(question)

    def whole(self, said: Said, body: dict[str, Any]) -> None:
        said.text, said.reasoning = body["output_text"], body.get("reasoning", "")
        grow(said, body.get("tool_calls"))
        self.bill(said, body)

    def event(self, said: Said, name: str, event: dict[str, Any]) -> None:
        if name == "delta":
            said.begun = True
            said.text += event.get("text", "")
            said.reasoning += event.get("reasoning", "")
            grow(said, event.get("tool_calls"))
        elif name == "done":
            self.bill(said, event)
        elif name == "error":
            said.status = event["status"]
            said.retry_after = str(event["retry_after"]) if "retry_after" in event else None
            self.error(said, event)

    def bill(self, said: Said, body: dict[str, Any]) -> None:
        """The usage, and why it ended."""
        usage = body["usage"]
        said.finish = body["finish_reason"]
        said.usage = usage["input_tokens"], usage["output_tokens"]
        said.cost_usd, said.source = usage["cost_usd"], usage["usage_source"]

    def error(self, said: Said, body: dict[str, Any]) -> None:
        said.code = body["code"].lower()


class OpenAIDoor(Door):
    """`/v1/chat/completions`."""

    path = "/v1/chat/completions"

    def body(self, question: Question) -> dict[str, Any]:
        names = {"model": f"{question.lane}/{MODELS[question.lane]}"}
        body: dict[str, Any] = names | {"messages": openai_turns(question)}
        body |= {"max_tokens": 500, "stream": question.stream}
        return body | openai_tools(question) | ({"stream_options": {"include_usage": True}} if question.stream else {})

    def whole(self, said: Said, body: dict[str, Any]) -> None:
        [choice] = body["choices"]
        self.message(said, choice["message"])
        said.finish = choice["finish_reason"]
        self.bill(said, body)

    def event(self, said: Said, name: str, event: dict[str, Any]) -> None:
        if "error" in event:
            said.status = event["error"]["status"]
            self.error(said, event)
            return
        for choice in event["choices"]:
            said.begun = True
            self.message(said, choice["delta"])
            said.finish = choice["finish_reason"] or said.finish
        if event.get("usage"):
            self.bill(said, event)

    def message(self, said: Said, message: dict[str, Any]) -> None:
        """A message, or a piece of one."""
        said.text += message.get("content") or ""
        said.reasoning += message.get("reasoning_content") or ""
        grow(said, message.get("tool_calls"))

    def bill(self, said: Said, body: dict[str, Any]) -> None:
        """The usage."""
        said.usage = body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]
        said.cost_usd, said.source = body["kaixu"]["cost_usd"], body["kaixu"]["usage_source"]

    def error(self, said: Said, body: dict[str, Any]) -> None:
        said.code = body["error"]["code"]


class AnthropicDoor(Door):
    """`/v1/messages`."""

    path = "/v1/messages"
    finishes = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}  # noqa: RUF012

    def body(self, question: Question) -> dict[str, Any]:
        turns: list[dict[str, Any]] = [{"role": "user", "content": question.words}]
        if question.calls:
            calls = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
                for call in question.calls
            ]
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": result}
                for call, result in zip(question.calls, question.results, strict=True)
            ]
            turns += [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
        body = {"model": f"{question.lane}/{MODELS[question.lane]}", "messages": turns}
        tool = {"name": "weather", "description": "the weather in a city", "input_schema": PARAMETERS}
        return body | {"max_tokens": 500, "stream": question.stream} | ({"tools": [tool]} if question.tools else {})

    def whole(self, said: Said, body: dict[str, Any]) -> None:
        for block in body["content"]:
            self.block(said, block)
        said.finish = self.finishes[body["stop_reason"]]
        self.bill(said, body)

    def event(self, said: Said, name: str, event: dict[str, Any]) -> None:
        assert name == event["type"]
        if name == "content_block_start":
            said.begun = True
            self.block(said, {**event["content_block"], "input": None})
        elif name == "content_block_delta":
            delta = event["delta"]
            said.text += delta.get("text", "")
            said.reasoning += delta.get("thinking", "")
            if "partial_json" in delta:
                said.calls[-1].arguments += delta["partial_json"]
        elif name == "message_delta":
            said.finish = self.finishes[event["delta"]["stop_reason"]]
            self.bill(said, event)
        elif name == "error":
            said.status = event["status"]
            self.error(said, event)

    def block(self, said: Said, block: dict[str, Any]) -> None:
        """A block, or the beginning of one."""
        said.text += block.get("text", "")
        said.reasoning += block.get("thinking", "")
        if block["type"] == "tool_use":
            arguments = "" if block["input"] is None else json.dumps(block["input"])
            said.calls.append(Call(block["id"], block["name"], arguments))

    def bill(self, said: Said, body: dict[str, Any]) -> None:
        """The usage."""
        said.usage = body["usage"]["input_tokens"], body["usage"]["output_tokens"]
        said.cost_usd, said.source = body["kaixu"]["cost_usd"], body["kaixu"]["usage_source"]

    def error(self, said: Said, body: dict[str, Any]) -> None:
        said.code = body["error"]["details"]["error_code"]


DOORS: dict[str, Door] = {"native": NativeDoor(), "openai": OpenAIDoor(), "anthropic": AnthropicDoor()}
