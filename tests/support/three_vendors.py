"""A fake OpenAI, Anthropic and Google: calls a tool, waits for its result, and records every request.

Strict like the vendors: an unknown field is answered with 400, and so is a tool result without a tool call.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from aiohttp import web

#: The top-level fields of a request that each vendor knows, from its API reference.
KNOWN = {
    "openai": frozenset(
        [
            "model",
            "messages",
            "max_tokens",
            "max_completion_tokens",
            "temperature",
            "top_p",
            "stop",
            "seed",
            "presence_penalty",
            "frequency_penalty",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "response_format",
            "reasoning_effort",
            "user",
            "safety_identifier",
            "n",
            "stream",
            "stream_options",
            "metadata",
            "store",
            "logprobs",
            "top_logprobs",
            "logit_bias",
            "functions",
            "function_call",
            "prediction",
            "verbosity",
            "service_tier",
            "modalities",
            "audio",
            "web_search_options",
            "prompt_cache_key",
            "prompt_cache_retention",
            # OpenRouter's, which many clients send to every vendor of this protocol
            "include_reasoning",
            "provider",
            "reasoning",
            "transforms",
            "usage",
        ]
    ),
    "anthropic": frozenset(
        [
            "model",
            "messages",
            "system",
            "max_tokens",
            "stream",
            "temperature",
            "top_p",
            "top_k",
            "stop_sequences",
            "tools",
            "tool_choice",
            "thinking",
            "output_config",
            "output_format",
            "metadata",
            "cache_control",
            "service_tier",
            "container",
            "mcp_servers",
            "context_management",
            "inference_geo",
            "speed",
        ]
    ),
    "gemini": frozenset(
        [
            "contents",
            "systemInstruction",
            "generationConfig",
            "tools",
            "toolConfig",
            "safetySettings",
            "cachedContent",
            "labels",
        ]
    ),
}
#: Fields of Anthropic's that are refused without their beta.
NEEDS_BETA = {"context_management": "context-management-2025-06-27", "mcp_servers": "mcp-client"}
USAGE = (14, 7)
DONE = "The tool has answered."


class RecordedRequest(NamedTuple):
    """One recorded request."""

    vendor: str
    headers: dict[str, str]
    body: dict[str, Any]


class Refused(Exception):
    """The vendor answers 400."""


class ThreeVendors:
    """Calls the first tool of `calls` that a request offers, then says `DONE`.

    `requests`: every request; `refused`: why requests were answered with 400.
    """

    def __init__(self, calls: dict[str, dict[str, Any]]) -> None:
        self.calls = calls
        self.requests: list[RecordedRequest] = []
        self.refused: list[str] = []
        self.url = ""

    def application(self) -> web.Application:
        """The routes of all vendors."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self.openai)
        app.router.add_post("/openai/v1/chat/completions", self.openai)
        app.router.add_post("/v1/messages", self.anthropic)
        app.router.add_post("/v1beta/models/{model}", self.gemini)
        return app

    def record(self, vendor: str, request: web.Request, body: dict[str, Any]) -> None:
        """Record a request, and refuse fields that the vendor does not know."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(RecordedRequest(vendor, headers, body))
        if unknown := set(body) - KNOWN[vendor]:
            raise Refused(f"unknown fields: {sorted(unknown)}")
        betas = headers.get("anthropic-beta", "")
        for field, beta in NEEDS_BETA.items():
            if vendor == "anthropic" and field in body and beta not in betas:
                raise Refused(f"{field} needs {beta}")

    def clear(self) -> None:
        """Clear the recorded requests."""
        self.requests.clear()
        self.refused.clear()

    def results(self) -> list[str]:
        """The tool results in the last request that has any."""
        by_request = [RESULTS[request.vendor](request.body) for request in self.requests]
        return next((results for results in reversed(by_request) if results), [])

    def tool_to_call(self, names: list[str]) -> tuple[str, dict[str, Any]] | None:
        """The tool to call, of those that the request offers."""
        return next(((name, self.calls[name]) for name in self.calls if name in names), None)

    async def openai(self, request: web.Request) -> web.StreamResponse:
        """Chat Completions."""
        body = await request.json()
        try:
            self.record("openai", request, body)
            answered = openai_results(body)
        except Refused as error:
            return self.refusal(error)
        offered = [tool | {"name": tool[tool["type"]]["name"]} for tool in body.get("tools", ())]
        offered += [function | {"type": "older"} for function in body.get("functions", ())]
        call = None if answered else self.tool_to_call([tool["name"] for tool in offered])
        pieces: list[dict[str, Any]] = [{"content": word} for word in (DONE[:8], DONE[8:])]
        if call is not None:
            [kind] = [tool["type"] for tool in offered if tool["name"] == call[0]]
            pieces = openai_call(kind, *call)
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        chunks = [head | {"choices": [{"index": 0, "delta": piece, "finish_reason": None}]} for piece in pieces]
        reason = "stop" if call is None else "function_call" if "function_call" in pieces[0] else "tool_calls"
        chunks.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        usage = {"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1], "total_tokens": sum(USAGE)}
        chunks.append(head | {"choices": [], "usage": usage})
        return await streamed(request, [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"])

    async def anthropic(self, request: web.Request) -> web.StreamResponse:
        """Messages."""
        body = await request.json()
        try:
            self.record("anthropic", request, body)
            answered = anthropic_results(body)
        except Refused as error:
            return self.refusal(error)
        names = [tool["name"] for tool in body.get("tools", ()) if tool.get("type", "custom") == "custom"]
        call = None if answered else self.tool_to_call(names)
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": []}
        message |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": USAGE[0], "output_tokens": 1}}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
        block: dict[str, Any] = {"type": "text", "text": ""}
        pieces = [("text_delta", "text", part) for part in (DONE[:8], DONE[8:])]
        if call is not None:
            text = json.dumps(call[1])
            block = {"type": "tool_use", "id": "toolu_1", "name": call[0], "input": {}}
            pieces = [("input_json_delta", "partial_json", part) for part in (text[:5], text[5:])]
        events.append({"type": "content_block_start", "index": 0, "content_block": block})
        for kind, field, part in pieces:
            events.append({"type": "content_block_delta", "index": 0, "delta": {"type": kind, field: part}})
        events.append({"type": "content_block_stop", "index": 0})
        ended = {"stop_reason": "end_turn" if call is None else "tool_use", "stop_sequence": None}
        events.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": USAGE[1]}})
        events.append({"type": "message_stop"})
        return await streamed(request, [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events])

    async def gemini(self, request: web.Request) -> web.StreamResponse:
        """`streamGenerateContent`."""
        body = await request.json()
        try:
            self.record("gemini", request, body)
            answered = gemini_results(body)
        except Refused as error:
            return self.refusal(error)
        offered = [tool for group in body.get("tools", ()) for tool in group["functionDeclarations"]]
        call = None if answered else self.tool_to_call([tool["name"] for tool in offered])
        part = {"text": DONE} if call is None else {"functionCall": {"name": call[0], "args": call[1]}}
        usage = {"promptTokenCount": USAGE[0], "candidatesTokenCount": USAGE[1], "totalTokenCount": sum(USAGE)}
        candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
        return await streamed(
            request, [f"data: {json.dumps({'candidates': [candidate], 'usageMetadata': usage})}\r\n\r\n"]
        )

    def refusal(self, error: Refused) -> web.Response:
        """A 400."""
        self.refused.append(str(error))
        return web.json_response({"error": {"message": str(error), "type": "invalid_request_error"}}, status=400)


async def streamed(request: web.Request, frames: list[str]) -> web.StreamResponse:
    """A stream of events."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for frame in frames:
        await response.write(frame.encode())
    return response


def openai_call(kind: str, name: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """A call in pieces: of a function, a custom tool, or a function of the older form."""
    text = json.dumps(arguments)
    if kind == "older":
        return [{"function_call": {"name": name, "arguments": text[:5]}}, {"function_call": {"arguments": text[5:]}}]
    if kind == "custom":
        custom = {"name": name, "input": next(iter(arguments.values()))}
        return [{"tool_calls": [{"index": 0, "id": "call_1", "type": "custom", "custom": custom}]}]
    begun = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": text[:5]}}
    return [{"tool_calls": [begun]}, {"tool_calls": [{"index": 0, "function": {"arguments": text[5:]}}]}]


def openai_results(body: dict[str, Any]) -> list[str]:
    """The tool results since the last user message; each must answer a tool call."""
    called: set[str] = set()
    found: list[str] = []
    for turn in body["messages"]:
        called |= {call["id"] for call in turn.get("tool_calls") or ()}
        if turn["role"] == "user":
            found = []
        if turn.get("function_call"):
            called.add(turn["function_call"]["name"])
        if turn["role"] in ("tool", "function"):
            if (turn["tool_call_id"] if turn["role"] == "tool" else turn["name"]) not in called:
                raise Refused("a tool's turn must answer a call")
            content = turn["content"]
            found.append(content if isinstance(content, str) else "".join(part.get("text", "") for part in content))
    return found


def anthropic_results(body: dict[str, Any]) -> list[str]:
    """See `openai_results`; Anthropic's results are in user turns."""
    called: set[str] = set()
    found: list[str] = []
    for turn in body["messages"]:
        blocks = turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        called |= {block["id"] for block in blocks if block["type"] == "tool_use"}
        results = [block for block in blocks if block["type"] == "tool_result"]
        if any(block["tool_use_id"] not in called for block in results):
            raise Refused("a tool_result must answer a tool_use")
        if turn["role"] == "user":
            found = [json.dumps(block.get("content")) for block in results]
    return found


def gemini_results(body: dict[str, Any]) -> list[str]:
    """See `openai_results`."""
    found: list[str] = []
    called: set[str] = set()
    for content in body["contents"]:
        called |= {part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part}
        for part in content["parts"]:
            if "functionResponse" in part:
                if part["functionResponse"]["name"] not in called:
                    raise Refused("a functionResponse must answer a functionCall")
                found.append(json.dumps(part["functionResponse"]["response"]))
            elif content["role"] == "user":
                found = []
    return found


RESULTS = {"openai": openai_results, "anthropic": anthropic_results, "gemini": gemini_results}


@contextmanager
def three_vendors(calls: dict[str, dict[str, Any]]) -> Iterator[ThreeVendors]:
    """All three on one port of the loopback, in a thread of their own."""
    vendors = ThreeVendors(calls)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        runner = web.AppRunner(vendors.application())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        vendors.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ended = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), ended))
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop, ended = started.result(10)
    try:
        yield vendors
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
