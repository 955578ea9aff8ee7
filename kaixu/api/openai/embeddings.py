"""`POST /v1/embeddings`: OpenAI's embeddings, in the vendor's own batches, under one admission and one bill."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from typing import Any

import pybase64

from kaixu.api.calls import bill_of, call_headers
from kaixu.catalog.catalog import Deployment
from kaixu.edge.authenticate import caller_of
from kaixu.edge.exchange import Door
from kaixu.edge.fields import Fields, object_in
from kaixu.edge.off_loop import off_loop
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.metering.embeddings import admit_embed, embed_vectors
from kaixu.plugin.errors import Unsupported
from kaixu.plugin.types import EmbedRequest

from .names import model_of

MOST_INPUTS = 2048
MOST_DIMENSIONS = 100_000
LITTLE_ENDIAN = struct.pack("=H", 1) == struct.pack("<H", 1)


def embedding_door(services: Services) -> Door:
    """The door, bound to one gateway."""

    async def embed(asked: IncomingRequest) -> Reply:
        caller = caller_of(asked, services.secrets)
        body = await object_in(asked)
        model = model_of(body)
        found = services.catalog.resolve(None, model, "embed")
        services.catalog.ready(found.deployment)
        fields = Fields(body)
        request = await off_loop(len(asked.body), lambda: embed_request(fields, found.deployment))
        as_text = fields.one_of("encoding_format", ("float", "base64")) == "base64"
        if beyond := fields.rest():
            raise Unsupported(beyond[0], "this endpoint has no such feature")
        call = await off_loop(
            len(asked.body), lambda: admit_embed(services.gate, caller, found.deployment, found.provider, request)
        )
        async with call as ticket:
            vectors = await embed_vectors(services.gate, ticket, request)
            ticket.units = {"vectors": len(vectors)}
        settled = ticket.settlement
        assert settled is not None
        reply = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": packed(vector) if as_text else list(vector)}
                for index, vector in enumerate(vectors)
            ],
            "model": model,
            "usage": {"prompt_tokens": settled.input_tokens, "total_tokens": settled.input_tokens},
            "kaixu": bill_of(ticket),
        }
        return json_reply(reply, 200, call_headers(ticket))

    return Door(embed, ("/v1/embeddings",), shape=openai_error, rate="call")


def embed_request(fields: Fields, deployment: Deployment) -> EmbedRequest:
    """The call for a deployment. Raises `Unprocessable`, naming the field."""
    fields.taken |= {"model"}
    lane = deployment.lane
    asked = fields.whole("dimensions", 1, MOST_DIMENSIONS)
    told = lane is not None and lane.shortens and not deployment.fixed_dimensions
    return EmbedRequest(
        model=deployment.upstream,
        inputs=inputs_of(fields),
        # A length that kaixu.yaml gives is asked for, for it may be shorter than the vendor's own.
        dimensions=asked or (deployment.dimensions if told else None),
        user=fields.text("user", most=500),
    )


def inputs_of(fields: Fields) -> tuple[str | tuple[int, ...], ...]:
    """`input`: a text, a list of texts, a list of tokens, or a list of those."""
    value = fields.take("input")
    if value is None:
        raise fields.wrong("input", "is missing")
    if isinstance(value, list) and value and all(is_token(one) for one in value):
        value = [value]
    inputs: list[Any] = value if isinstance(value, list) else [value]
    if not 1 <= len(inputs) <= MOST_INPUTS:
        raise fields.wrong("input", f"must hold 1 to {MOST_INPUTS} entries")
    return tuple(input_of(fields, at, one) for at, one in enumerate(inputs))


def input_of(fields: Fields, at: int, value: Any) -> str | tuple[int, ...]:
    """One input."""
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(is_token(one) for one in value):
        return tuple(value)
    raise fields.wrong(f"input[{at}]", "must be text that is not empty, or a list of tokens")


def is_token(value: Any) -> bool:
    """Whether it can be the number of a token."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def packed(vector: Sequence[float]) -> str:
    """Base64 of little-endian 32-bit floats, as OpenAI packs them."""
    floats = array("f", vector)
    if not LITTLE_ENDIAN:
        floats.byteswap()
    return pybase64.b64encode(floats.tobytes()).decode()
