"""Parse the lines of a batch's input file, and write the lines of its output and error files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Literal
from uuid import uuid4

import msgspec

from kaixu.api.openai.model_name import read_model
from kaixu.config.price import usd
from kaixu.edge.characters import require_storable
from kaixu.edge.fields import Fields
from kaixu.edge.services import Services
from kaixu.jobs.batches import BatchLine, BatchRow, LineRow
from kaixu.jobs.payloads import JobOutcome, ModelCall
from kaixu.metering.event_codec import decode_events
from kaixu.metering.vector_codec import decode_vector
from kaixu.plugin.errors import Invalid, KaixuError, TooLarge, Unprocessable, Unsupported

from .chat_reply import merge_completion
from .chat_request import parse_chat_request
from .embeddings import parse_embed_request

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
MAX_LINES = 50_000
MAX_CUSTOM_ID = 200

#: Vectors that are written at once, before the event loop serves other requests.
VECTORS_AT_ONCE = 16


def parse_lines(services: Services, content: bytes, endpoint: str) -> list[BatchLine]:
    """Parse and validate every line. Raises `Invalid`, `TooLarge` for the file as a whole."""
    texts = [text for text in content.split(b"\n") if text.strip()]
    if not texts:
        raise Invalid("the file is empty", field="input_file_id")
    if len(texts) > MAX_LINES:
        raise TooLarge(f"the file has more than {MAX_LINES} lines", field="input_file_id")
    known: set[str] = set()
    return [parse_line(services, text, endpoint, known) for text in texts]


def parse_line(services: Services, text: bytes, endpoint: str, known: set[str]) -> BatchLine:
    """Parse one line. An error is stored with the line; the other lines run."""
    custom_id: str | None = None
    try:
        value = msgspec.json.decode(text, type=dict[str, Any])
        name = value.get("custom_id")
        if not isinstance(name, str) or not name or len(name) > MAX_CUSTOM_ID:
            raise Unprocessable(f"`custom_id` must be 1 to {MAX_CUSTOM_ID} characters", field="custom_id")
        custom_id = name
        if custom_id in known:
            raise Unprocessable("another line has this `custom_id`", field="custom_id")
        known.add(custom_id)
        if value.get("method") != "POST" or value.get("url") != endpoint:
            raise Unprocessable(f"`method` must be POST and `url` {endpoint}", field="url")
        body = value.get("body")
        if not isinstance(body, dict):
            raise Unprocessable("`body` must be an object", field="body")
        require_storable(text, body)
        if body.get("stream"):
            raise Unsupported("stream", "a batch has no stream")
        return parse_call(services, custom_id, body, endpoint)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return BatchLine(custom_id, None, error_code="BAD_JSON", error_message="the line is not a JSON object")
    except KaixuError as error:
        return BatchLine(custom_id, None, error_code=error.code, error_message=error.message.replace("\0", ""))


def parse_call(services: Services, custom_id: str, body: dict[str, Any], endpoint: str) -> BatchLine:
    """The call of a line. Raises `KaixuError`."""
    kind: Literal["chat", "embed"] = "chat" if endpoint == CHAT else "embed"
    requested = services.catalog.resolve(None, read_model(body), kind)
    deployment = requested.deployment
    if kind == "chat":
        request = parse_chat_request(body, deployment, most_messages=services.gateway.max_messages)
        call = ModelCall(requested.provider, deployment.model, chat=request, price="batch")
    else:
        fields = Fields(body)
        embed_request = parse_embed_request(fields, deployment)
        fields.one_of("encoding_format", ("float", "base64"))
        if unknown := fields.unread():
            raise Unsupported(unknown[0], "this endpoint does not support it")
        call = ModelCall(requested.provider, deployment.model, embed=embed_request, price="batch")
    return BatchLine(custom_id, call, deployment.provider, deployment.model)


async def output_lines(services: Services, batch: BatchRow) -> AsyncGenerator[bytes, None]:
    """A line for each call that succeeded, in pieces."""
    async for row, custom_id, outcome in services.batches.lines(batch, succeeded=True):
        assert outcome is not None
        response = {"status_code": 200, "request_id": row.request_id}
        if row.kind == "chat":
            yield encode_line(row, custom_id, response | {"body": completion_reply(row, outcome)}, None)
            continue
        # Vectors as text are much longer than in the database, so they are written one by one.
        placeholder = f"vectors of {uuid4()}"
        body = embeddings_reply(row, outcome, [placeholder])
        prefix, _, suffix = encode_line(row, custom_id, response | {"body": body}, None).partition(
            f'"{placeholder}"'.encode()
        )
        yield prefix
        for at, vector in enumerate(outcome.vectors or []):
            yield (b"," if at else b"") + encode_embedding(at, vector)
            if at % VECTORS_AT_ONCE == 0:
                await asyncio.sleep(0)
        yield suffix


async def error_lines(services: Services, batch: BatchRow) -> AsyncGenerator[bytes, None]:
    """A line for each call that failed."""
    async for row, custom_id, _ in services.batches.lines(batch, succeeded=False):
        yield encode_line(
            row, custom_id, None, {"code": row.error_code, "message": row.error_message, "line": row.line}
        )


def encode_line(row: LineRow, custom_id: str | None, response: Any, error: Any) -> bytes:
    """One line of the output file or of the error file."""
    value = {"id": f"batch_req_{row.id.hex}", "custom_id": custom_id, "response": response, "error": error}
    return msgspec.json.encode(value) + b"\n"


def line_bill(row: LineRow, outcome: JobOutcome) -> dict[str, Any]:
    """What the call cost, and which deployment answered."""
    return {"cost_usd": usd(row.cost_nusd), **outcome.bill}


def completion_reply(row: LineRow, outcome: JobOutcome) -> dict[str, Any]:
    """The answer of a chat call."""
    events = decode_events((outcome.events or "[]").encode())
    completion = merge_completion(events, row.model or "", outcome.finish_reason, outcome.end)
    head = {"id": f"chatcmpl-{row.id.hex}", "created": int(row.completed_at.timestamp()) if row.completed_at else 0}
    usage = {
        "prompt_tokens": row.input_tokens,
        "completion_tokens": row.output_tokens,
        "total_tokens": row.input_tokens + row.output_tokens,
    }
    return completion | head | {"usage": usage, "kaixu": line_bill(row, outcome)}


def embeddings_reply(row: LineRow, outcome: JobOutcome, data: list[Any]) -> dict[str, Any]:
    """The answer of an embedding call, with `data` in place of the vectors."""
    usage = {"prompt_tokens": row.input_tokens, "total_tokens": row.input_tokens}
    return {"object": "list", "data": data, "model": row.model, "usage": usage, "kaixu": line_bill(row, outcome)}


def encode_embedding(at: int, vector: str) -> bytes:
    """One vector as an entry of `data`."""
    return msgspec.json.encode({"object": "embedding", "index": at, "embedding": decode_vector(vector)})
