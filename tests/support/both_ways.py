"""A vendor with OpenAI's and Anthropic's protocols that answers in one piece or as a stream, as it is asked.

The model's name selects what happens: `ok`, `streams` (refuses anything but streams), `late` (a plain answer never
comes), `cut` (breaks off in the middle of a plain answer), `nonsense`, `error`, `busy`, `stubborn` (streams always).
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from aiohttp import web

SECRET = "org-of-the-operator"
WORDS = ("The capital ", "of Italy ", "is Rome.")
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
CHOICE: dict[str, Any] = {
    "index": 0,
    "message": {
        "role": "assistant",
        "content": "".join(WORDS),
        "refusal": None,
        "annotations": [{"index": 0, "a": 1}, {"index": 0, "a": 2}],
        "x_message": {"deep": [1, None]},
    },
    "finish_reason": "stop",
    "x_choice": None,
}
#: OpenAI's whole answer; without `usage`.
WHOLE = {
    "id": "chatcmpl-of-the-vendor",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "model-of-the-vendor",
    "choices": [CHOICE],
    "service_tier": None,
    "system_fingerprint": "fp_1",
    "x_answer": {"kept": True},
}
#: Anthropic's whole answer; without `usage`.
MESSAGE = {
    "id": "msg_of_the_vendor",
    "type": "message",
    "role": "assistant",
    "model": "model-of-the-vendor",
    "content": [{"type": "text", "text": "".join(WORDS), "x_block": 7}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "x_answer": {"kept": True},
}


class BothWays:
    """Records its requests; `usage` is what its answers report, None for no usage."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.usage: dict[str, Any] | None = {"prompt_tokens": 14, "completion_tokens": 7, "total_tokens": 21}
        self.calls_tool = False
        self.repeats = 1  # of the text of a plain answer
        self.cancelled = 0
        self.waiting = threading.Event()  # a `late` answer was asked for

    def application(self) -> web.Application:
        """Its routes."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/messages", self.messages)
        return app

    async def asked(self, request: web.Request) -> tuple[dict[str, Any], web.Response | None]:
        """The request's body, and the failure that its model stands for."""
        body = await request.json()
        self.requests.append(body)
        kind, plain = body["model"], not body.get("stream")
        if kind == "streams" and plain:
            words = "This model only support stream mode, please enable the stream parameter to access the model."
            return body, web.json_response({"error": {"message": words, "code": "invalid_parameter_error"}}, status=400)
        if kind == "late" and plain:
            self.waiting.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        failures = {
            "nonsense": lambda: web.Response(text='{"choices": [', content_type="application/json"),
            "error": lambda: web.json_response({"error": {"message": SECRET}}),
            "busy": lambda: web.json_response({"error": {"message": SECRET}}, status=429),
        }
        return body, failures[kind]() if kind in failures else None

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One chat completion."""
        body, failure = await self.asked(request)
        if failure is not None:
            return failure
        usage = {} if self.usage is None else {"usage": self.usage}
        message = CHOICE["message"] | {"content": CHOICE["message"]["content"] * self.repeats}
        message |= {"content": None, "tool_calls": [CALL]} if self.calls_tool else {}
        reason = "tool_calls" if self.calls_tool else "stop"
        if not body.get("stream") and body["model"] != "stubborn":
            choices = [CHOICE | {"message": message, "finish_reason": reason}]
            return await self.whole(request, WHOLE | {"choices": choices} | usage, body["model"])
        deltas: list[dict[str, Any]] = [{"content": word} for word in WORDS]
        if self.calls_tool:
            deltas = [{"tool_calls": [CALL | {"index": 0}]}]
        chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        chunks += [{"choices": []} | usage] if usage else []
        return await self.events(request, chunks)

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """One message."""
        body, failure = await self.asked(request)
        if failure is not None:
            return failure
        usage = {"usage": {"input_tokens": 14, "output_tokens": 7}}
        if not body.get("stream"):
            return await self.whole(request, MESSAGE | usage, body["model"])
        start = {"type": "message_start", "message": MESSAGE | usage | {"content": [], "stop_reason": None}}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        deltas = [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS
        ]
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
        stop = {"type": "content_block_stop", "index": 0}
        return await self.events(request, [start, block, *deltas, stop, end, {"type": "message_stop"}])

    async def whole(self, request: web.Request, answer: dict[str, Any], kind: str) -> web.StreamResponse:
        """An answer in one piece, with headers that no client may see."""
        data = json.dumps(answer).encode()
        headers = {"content-type": "application/json", "openai-organization": SECRET, "set-cookie": f"s={SECRET}"}
        response = web.StreamResponse(headers=headers)
        response.content_length = len(data)
        await response.prepare(request)
        if kind == "cut":
            await response.write(data[: len(data) // 2])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(data)
        return response

    async def events(self, request: web.Request, events: list[dict[str, Any]]) -> web.StreamResponse:
        """A stream."""
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            name = f"event: {event['type']}\n" if "type" in event else ""
            await response.write(f"{name}data: {json.dumps(event)}\n\n".encode())
        if "type" not in events[0]:
            await response.write(b"data: [DONE]\n\n")
        return response


@contextmanager
def both_ways() -> Iterator[BothWays]:
    """The vendor on a port of the loopback, in a thread of its own."""
    vendor = BothWays()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        runner = web.AppRunner(vendor.application(), handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ended = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), ended))
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop, ended = started.result(30)
    try:
        yield vendor
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)
