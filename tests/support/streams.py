"""Difficult streams: a fake vendor that writes them, byte by byte if needed, and clients that check them.

A model's name defines what its vendor streams: `<shape>-<deltas>-<ms between>`. The client compares the received
text with the sent one, and the bill with the vendor's usage.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from kaixu.config.price import usd
from kaixu.store.query import Connection

INPUT_TOKENS = 14
MEGABYTE = 1024 * 1024
MANY_TOKENS = 4_000_000
WORDS = ("naïve ", "日本語", "😀", "Grüße ", "Ωμέγα ", "🇫🇷")


class Shape(msgspec.Struct, frozen=True):
    """One kind of stream.

    `text` makes the text of the delta of a number, each of `tokens` tokens. `cut`: every write ends in the middle
    of a character. `done`: `[DONE]` is sent. `closed`: the last line has an end. `broken`: written after the
    deltas instead of an end.
    """

    text: Callable[[int], str]
    tokens: int = 1
    newline: bytes = b"\n"
    cut: bool = False
    done: bool = True
    closed: bool = True
    broken: tuple[bytes, ...] = ()


def word(at: int) -> str:
    """Text of one to four bytes a character."""
    return WORDS[at % len(WORDS)]


SHAPES = {
    "byte": Shape(lambda at: chr(ord("a") + at % 26)),
    "megabyte": Shape(lambda at: f"{at:<15},"[:16] * (MEGABYTE // 16), tokens=MEGABYTE // 64),
    "cut": Shape(word, cut=True),
    "crlf": Shape(word, newline=b"\r\n"),
    "cr": Shape(word, newline=b"\r"),
    "open": Shape(word, closed=False),
    "abrupt": Shape(word, done=False, closed=False),
    "half": Shape(word, broken=(b'data: {"choices":[{"index":0,"delta":{"content":"\xf0\x9f"}}]}\n\n',)),
    "endless": Shape(word, broken=(b'data: {"choices":[{"index":0,"delta":{"content":"', *[b"x" * MEGABYTE] * 18)),
    "steady": Shape(lambda at: f"word {at} "),
}


class RequestedStream(msgspec.Struct, frozen=True):
    """A stream as its model's name defines it."""

    shape: Shape
    deltas: int
    pause_s: float

    @classmethod
    def of(cls, model: str) -> RequestedStream:
        """Parse the name."""
        shape, deltas, pause_ms = model.split("-")
        return cls(SHAPES[shape], int(deltas), int(pause_ms) / 1000)

    @property
    def output_tokens(self) -> int:
        """The output tokens that its vendor reports."""
        return self.deltas * self.shape.tokens

    def digest(self) -> str:
        """The hash of its whole text."""
        whole = sha256()
        for at in range(self.deltas):
            whole.update(self.shape.text(at).encode())
        return whole.hexdigest()


class StreamingVendor:
    """Chat Completions, streamed as the model's name says. `written` counts the deltas that have left it."""

    def __init__(self) -> None:
        self.written = 0
        self.runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        app = web.Application(client_max_size=64 * MEGABYTE)
        app.router.add_post("/v1/chat/completions", self.chat)
        self.runner = web.AppRunner(app, handler_cancellation=True)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0, backlog=1024).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Stop listening."""
        assert self.runner is not None
        await self.runner.cleanup()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One completion."""
        requested = RequestedStream.of((await request.json())["model"])
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        shape = requested.shape
        for at in range(requested.deltas):
            await self.write(response, shape, {"choices": [{"index": 0, "delta": {"content": shape.text(at)}}]})
            self.written += 1
            await asyncio.sleep(requested.pause_s)
        for piece in shape.broken:
            await response.write(piece)
        if shape.broken:
            return response
        await self.write(response, shape, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": requested.output_tokens}
        last = {"choices": [], "usage": usage}
        if shape.done:
            await self.write(response, shape, last)
            await response.write(b"data: [DONE]" + (shape.newline * 2 if shape.closed else b""))
        else:
            await response.write(b"data: " + msgspec.json.encode(last))
        await response.write_eof()
        return response

    async def write(self, response: web.StreamResponse, shape: Shape, chunk: dict[str, Any]) -> None:
        """One event, in as many writes as its shape has."""
        event = b"data: " + msgspec.json.encode(chunk) + shape.newline * 2
        begin = 0
        if shape.cut:
            for at, byte in enumerate(event):
                if byte & 0xC0 == 0x80:  # not a character's first byte
                    await response.write(event[begin:at])
                    await asyncio.sleep(0.0005)  # so that it travels alone
                    begin = at
        await response.write(event[begin:])


class ReceivedStream(msgspec.Struct):
    """What a client received: the hash of the text, its pieces, and the bill at the end of the stream."""

    model: str
    status: int
    request_id: str
    digest: str = ""
    deltas: int = 0
    size: int = 0  # of the text, in bytes of UTF-8
    pings: int = 0
    end: str | None = None
    error: str | None = None
    cost_usd: str | None = None


Pause = Callable[[], Awaitable[None]]


async def no_pause() -> None:
    """A reader that does not stall."""


async def listen(
    http: aiohttp.ClientSession, url: str, key: str, protocol: str, model: str, pause: Pause = no_pause
) -> ReceivedStream:
    """Call `model` in a protocol ("native", "openai" or "anthropic"); `pause` is awaited after the first delta."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": MANY_TOKENS,
        "stream": True,
    }
    if protocol == "openai":
        body["stream_options"] = {"include_usage": True}
    path = {"native": "/api/gateway-stream", "openai": "/v1/chat/completions", "anthropic": "/v1/messages"}[protocol]
    async with http.post(url + path, json=body, headers={"authorization": f"Bearer {key}"}) as response:
        received = ReceivedStream(model, response.status, response.headers.get("x-kaixu-request-id", ""))
        whole = sha256()
        async for frame in frames(response.content):
            text = READ_FRAME[protocol](frame, received)
            if text is None:
                continue
            data = text.encode()
            whole.update(data)
            received.size += len(data)
            received.deltas += 1
            if received.deltas == 1:
                await pause()
        received.digest = whole.hexdigest()
    return received


async def frames(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The frames of a stream, of any size."""
    buffer = bytearray()
    searched = 0
    async for piece in content.iter_any():
        buffer += piece
        while (at := buffer.find(b"\n\n", searched)) >= 0:
            yield bytes(buffer[:at])
            del buffer[: at + 2]
            searched = 0
        searched = max(0, len(buffer) - 1)
    assert not buffer, "a frame without its end"


def fields_of(frame: bytes) -> tuple[str, Any]:
    """A frame's name and its data; a comment has neither."""
    name, data = "", None
    for line in frame.split(b"\n"):
        if line.startswith(b"event: "):
            name = line[7:].decode()
        elif line.startswith(b"data: "):
            data = line[6:].decode() if line == b"data: [DONE]" else json.loads(line[6:])
    return name, data


def native(frame: bytes, received: ReceivedStream) -> str | None:
    """The text in a frame of `gateway-stream`."""
    name, data = fields_of(frame)
    if name == "delta":
        return str(data["text"])
    if name == "done":
        received.end, received.cost_usd = data["end"], data["usage"]["cost_usd"]
    if name == "error":
        received.error, received.cost_usd = data["code"], data["usage"]["cost_usd"]
    received.pings += name == "ping"
    return None


def openai(frame: bytes, received: ReceivedStream) -> str | None:
    """The text in a frame of `/v1/chat/completions`."""
    _, data = fields_of(frame)
    received.pings += data is None
    if not isinstance(data, dict):
        return None
    if bill := data.get("kaixu"):
        received.end, received.cost_usd = bill["end"], bill["cost_usd"]
    if error := data.get("error"):
        received.error = error["code"].upper()
    for choice in data.get("choices", ()):
        if text := choice["delta"].get("content"):
            return str(text)
    return None


def anthropic(frame: bytes, received: ReceivedStream) -> str | None:
    """The text in a frame of `/v1/messages`."""
    name, data = fields_of(frame)
    received.pings += name in ("", "ping")
    if name == "message_delta":
        received.end, received.cost_usd = data["kaixu"]["end"], data["kaixu"]["cost_usd"]
    if name == "error":
        received.error, received.cost_usd = data["code"], data["kaixu"]["cost_usd"]
    return str(data["delta"]["text"]) if name == "content_block_delta" else None


READ_FRAME: dict[str, Callable[[bytes, ReceivedStream], str | None]] = {
    "native": native,
    "openai": openai,
    "anthropic": anthropic,
}


async def mistakes(pool: Connection, received: list[ReceivedStream]) -> list[str]:
    """All differences in the text, in the reported bill and in the usage event; none are expected."""
    wrong: list[str] = []
    digests = {model: RequestedStream.of(model).digest() for model in {one.model for one in received}}
    for one in received:
        requested = RequestedStream.of(one.model)
        cost = INPUT_TOKENS * 1000 + requested.output_tokens * 2000
        rows = await pool.fetch(
            "select end_reason, usage_source, input_tokens, output_tokens, cost_nusd"
            " from kaixu.usage_event where request_id = $1",
            one.request_id,
        )
        pairs = {
            "status": (one.status, 200),
            "pieces": (one.deltas, requested.deltas),
            "text": (one.digest, digests[one.model]),
            "end": (one.end, "complete"),
            "reported cost": (one.cost_usd, usd(cost)),
            "usage event": (
                [tuple(row) for row in rows],
                [("complete", "provider", INPUT_TOKENS, requested.output_tokens, cost)],
            ),
        }
        wrong += [f"{one.model}: {what}: {is_}, not {should}" for what, (is_, should) in pairs.items() if is_ != should]
    return wrong
