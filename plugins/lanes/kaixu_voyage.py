"""The `voyage` lane: Voyage AI's embeddings."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
from pydantic import Field

from kaixu.plugin import (
    Embeddings,
    EmbedRequest,
    KeyOptions,
    Keys,
    Lane,
    RegisterLane,
    UpstreamError,
    Usage,
    Wire,
    hookimpl,
)


class VoyageOptions(KeyOptions):
    """Where the vendor is, and the operator's credential for it."""

    base_url: str = Field(
        default="https://api.voyageai.com/v1", pattern=r"^https?://", description="everything before /embeddings"
    )


class Voyage(Lane):
    """Translates to Voyage's embeddings and back. There is no chat."""

    keys: Keys

    #: Voyage's own limits; the second is the narrowest of its models'.
    max_batch = 1000
    max_batch_tokens = 120_000
    shortens = True

    def __init__(self, options: VoyageOptions) -> None:
        self.url = httpx.URL(options.base_url.rstrip("/") + "/embeddings")
        self.keys = options.keys()
        self.headers = httpx.Headers(
            self.keys.first()
            | {
                "content-type": "application/json",
                "accept": "application/json",
                "user-agent": "kaixu",
            }
        )

    async def embed(self, request: EmbedRequest, wire: Wire) -> Embeddings:
        outgoing = httpx.Request("POST", self.url, headers=self.headers, content=msgspec.json.encode(body_of(request)))
        async with wire.send(self.keys.sign(outgoing)) as response:
            try:
                answer = ANSWER.decode(await response.aread())
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise UpstreamError("the vendor's answer cannot be read") from error
        data = sorted(answer.data, key=lambda vector: vector.index)
        if [vector.index for vector in data] != list(range(len(request.inputs))):
            raise UpstreamError("the vendor answered with other vectors than asked for")
        tokens = answer.usage.total_tokens if answer.usage is not None else None
        usage = counted(request) if tokens is None else Usage(input_tokens=tokens)
        return Embeddings(tuple(vector.embedding for vector in data), usage)


def body_of(request: EmbedRequest) -> dict[str, Any]:
    """The request as Voyage wants it; what was not said is left out."""
    body: dict[str, Any] = {"model": request.model, "input": request.inputs, "input_type": request.purpose}
    if request.truncate is not None:
        body["truncation"] = request.truncate
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    return body


def counted(request: EmbedRequest) -> Usage:
    """What the inputs come to by their length, four characters a token."""
    return Usage(input_tokens=sum(max(1, -(-len(text) // 4)) for text in request.inputs), estimated=True)


class Vector(msgspec.Struct):
    index: int
    embedding: tuple[float, ...]


class Tokens(msgspec.Struct):
    total_tokens: int | None = None


class Answer(msgspec.Struct):
    data: list[Vector]
    usage: Tokens | None = None


ANSWER = msgspec.json.Decoder(Answer)


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The voyage lane."""
    register("voyage", Voyage, VoyageOptions)
