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
    Usage,
    Wire,
    hookimpl,
    vectors_in,
)


class VoyageOptions(KeyOptions):
    """The vendor's address and the operator's credential."""

    base_url: str = Field(
        default="https://api.voyageai.com/v1", pattern=r"^https?://", description="everything before /embeddings"
    )


class Voyage(Lane):
    """Translates to Voyage's embeddings API and back. There is no chat."""

    keys: Keys

    #: Voyage's limits; the second is the smallest of its models' limits.
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
            answer = await response.aread()
        vectors, usage = vectors_in(answer, len(request.inputs), wire.note)
        return Embeddings(vectors, usage or counted(request))


def body_of(request: EmbedRequest) -> dict[str, Any]:
    """The body of a Voyage request, without fields that are not set."""
    body: dict[str, Any] = {"model": request.model, "input": request.inputs, "input_type": request.purpose}
    if request.truncate is not None:
        body["truncation"] = request.truncate
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    return body


def counted(request: EmbedRequest) -> Usage:
    """Usage estimated from the length of the inputs: four characters a token."""
    return Usage(input_tokens=sum(max(1, -(-len(text) // 4)) for text in request.inputs), estimated=True)


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The voyage lane."""
    register("voyage", Voyage, VoyageOptions)
