"""The lines of a batch: read from its file, each with its own error; and what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import msgspec
import pybase64

from kaixu.config.price import usd
from kaixu.edge.characters import insist_on_storable
from kaixu.edge.fields import Fields
from kaixu.edge.services import Services
from kaixu.jobs.batches import BatchLine, BatchRow, LineRow
from kaixu.jobs.texts import JobOutcome, ModelCall
from kaixu.metering.event_codec import decode_events
from kaixu.plugin.errors import Invalid, KaixuError, TooLarge, Unprocessable, Unsupported

from .chat_reply import merge_completion
from .chat_request import parse_chat_request
from .embeddings import parse_embed_request
from .names import read_model

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
MOST_LINES = 50_000
MOST_CUSTOM_ID = 200

#: So many vectors are written before other requests have their turn.
VECTORS_AT_ONCE = 16


def parse_lines(services: Services, content: bytes, endpoint: str) -> list[BatchLine]:
    """Every line, checked as its door would check it. Raises `Invalid`, `TooLarge` where the file itself is wrong."""
    texts = [text for text in content.split(b"\n") if text.strip()]
    if not texts:
        raise Invalid("the file holds no line", field="input_file_id")
    if len(texts) > MOST_LINES:
        raise TooLarge(f"the file holds more than {MOST_LINES} lines", field="input_file_id")
    known: set[str] = set()
    return [parse_line(services, text, endpoint, known) for text in texts]


def parse_line(services: Services, text: bytes, endpoint: str, known: set[str]) -> BatchLine:
    """One line; what is wrong with it is its own error, and nobody else's."""
    custom_id: str | None = None
    try:
        value = msgspec.json.decode(text, type=dict[str, Any])
        given = value.get("custom_id")
        if not isinstance(given, str) or not given or len(given) > MOST_CUSTOM_ID:
            raise Unprocessable(f"`custom_id` must be 1 to {MOST_CUSTOM_ID} characters", field="custom_id")
        custom_id = given
        if custom_id in known:
            raise Unprocessable("another line has this `custom_id`", field="custom_id")
        known.add(custom_id)
        if value.get("method") != "POST" or value.get("url") != endpoint:
            raise Unprocessable(f"`method` must be POST and `url` {endpoint}", field="url")
        body = value.get("body")
        if not isinstance(body, dict):
            raise Unprocessable("`body` must be an object", field="body")
        insist_on_storable(text, body)
        if body.get("stream"):
            raise Unsupported("stream", "a batch has no stream")
        return parse_call(services, custom_id, body, endpoint)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return BatchLine(custom_id, None, error_code="BAD_JSON", error_message="the line is not a JSON object")
    except KaixuError as error:
        return BatchLine(custom_id, None, error_code=error.code, error_message=error.message.replace("\0", ""))


def parse_call(services: Services, custom_id: str, body: dict[str, Any], endpoint: str) -> BatchLine:
    """The call that a line asks for."""
    kind = "chat" if endpoint == CHAT else "embed"
    found = services.catalog.resolve(None, read_model(body), "chat" if endpoint == CHAT else "embed")
    public = found.deployment
    if kind == "chat":
        request = parse_chat_request(body, public, most_messages=services.gateway.max_messages)
        call = ModelCall(found.provider, public.model, chat=request, price="batch")
    else:
        fields = Fields(body)
        wanted = parse_embed_request(fields, public)
        fields.one_of("encoding_format", ("float", "base64"))
        if beyond := fields.rest():
            raise Unsupported(beyond[0], "this endpoint has no such feature")
        call = ModelCall(found.provider, public.model, embed=wanted, price="batch")
    return BatchLine(custom_id, call, public.provider, public.model)


async def output_lines(services: Services, batch: BatchRow) -> AsyncGenerator[bytes, None]:
    """A line for each call that went well, in pieces."""
    async for row, custom_id, outcome in services.batches.lines(batch, succeeded=True):
        assert outcome is not None
        response = {"status_code": 200, "request_id": row.request_id}
        if row.kind == "chat":
            yield encode_line(row, custom_id, response | {"body": completion_reply(row, outcome)}, None)
            continue
        # Vectors as text are many times as long as they are kept: they leave one by one.
        gap = f"vectors of {uuid4()}"
        body = embeddings_reply(row, outcome, [gap])
        before, _, after = encode_line(row, custom_id, response | {"body": body}, None).partition(f'"{gap}"'.encode())
        yield before
        for at, vector in enumerate(outcome.vectors or []):
            yield (b"," if at else b"") + encode_vector(at, vector)
            if at % VECTORS_AT_ONCE == 0:
                await asyncio.sleep(0)
        yield after


async def error_lines(services: Services, batch: BatchRow) -> AsyncGenerator[bytes, None]:
    """A line for each that did not."""
    async for row, custom_id, _ in services.batches.lines(batch, succeeded=False):
        yield encode_line(
            row, custom_id, None, {"code": row.error_code, "message": row.error_message, "line": row.line}
        )


def encode_line(row: LineRow, custom_id: str | None, response: Any, error: Any) -> bytes:
    """A line."""
    said = {"id": f"batch_req_{row.id.hex}", "custom_id": custom_id, "response": response, "error": error}
    return msgspec.json.encode(said) + b"\n"


def line_bill(row: LineRow, outcome: JobOutcome) -> dict[str, Any]:
    """What it cost, and who served it."""
    return {"cost_usd": usd(row.cost_nusd), **outcome.bill}


def completion_reply(row: LineRow, outcome: JobOutcome) -> dict[str, Any]:
    """A chat's answer."""
    events = decode_events((outcome.events or "[]").encode())
    whole = merge_completion(events, row.model or "", outcome.finish_reason, outcome.end)
    head = {"id": f"chatcmpl-{row.id.hex}", "created": int(row.completed_at.timestamp()) if row.completed_at else 0}
    usage = {
        "prompt_tokens": row.input_tokens,
        "completion_tokens": row.output_tokens,
        "total_tokens": row.input_tokens + row.output_tokens,
    }
    return whole | head | {"usage": usage, "kaixu": line_bill(row, outcome)}


def embeddings_reply(row: LineRow, outcome: JobOutcome, data: list[Any]) -> dict[str, Any]:
    """Vectors, as numbers; `data` stands where they do."""
    usage = {"prompt_tokens": row.input_tokens, "total_tokens": row.input_tokens}
    return {"object": "list", "data": data, "model": row.model, "usage": usage, "kaixu": line_bill(row, outcome)}


def encode_vector(at: int, vector: str) -> bytes:
    """One vector."""
    numbers = memoryview(pybase64.b64decode(vector)).cast("f").tolist()
    return msgspec.json.encode({"object": "embedding", "index": at, "embedding": numbers})
