"""`POST /v1/embeddings`: OpenAI's Embeddings API."""

from __future__ import annotations

from typing import Any

from kaixu.api.call_replies import bill_reply, call_headers
from kaixu.api.openai.model_name import read_model
from kaixu.catalog.catalog import Deployment
from kaixu.collections.lengths import shortens_vectors
from kaixu.edge.authenticate import read_caller
from kaixu.edge.fields import Fields, read_object
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.threads import run_in_thread
from kaixu.metering.embeddings import admit_embed, embed_vectors
from kaixu.metering.vector_codec import encode_vector
from kaixu.plugin.errors import Unsupported
from kaixu.plugin.types import EmbedRequest

MAX_INPUTS = 2048
MAX_DIMENSIONS = 100_000


def embedding_routes(services: Services) -> list[Route]:
    """The route, bound to the services of one gateway."""

    async def embed(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        body = await read_object(request)
        model = read_model(body)
        requested = services.catalog.resolve(None, model, "embed")
        deployment = requested.deployment
        services.catalog.ready(deployment)
        fields, size = Fields(body), len(request.body)
        embed_request = await run_in_thread(size, lambda: parse_embed_request(fields, deployment))
        as_base64 = fields.one_of("encoding_format", ("float", "base64")) == "base64"
        if unknown := fields.unread():
            raise Unsupported(unknown[0], "this endpoint does not support it")
        admission = await run_in_thread(
            size, lambda: admit_embed(services.gate, caller, deployment, requested.provider, embed_request)
        )
        async with admission as ticket:
            vectors = await embed_vectors(services.gate, ticket, embed_request)
            ticket.units = {"vectors": len(vectors)}
        settled = ticket.settlement
        assert settled is not None
        reply = {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": at,
                    "embedding": encode_vector(vector) if as_base64 else list(vector),
                }
                for at, vector in enumerate(vectors)
            ],
            "model": model,
            "usage": {"prompt_tokens": settled.input_tokens, "total_tokens": settled.input_tokens},
            "kaixu": bill_reply(ticket),
        }
        return json_reply(reply, 200, call_headers(ticket))

    return [Route("POST", ("/v1/embeddings",), embed, auth="key", rate="call", error_shape=openai_error)]


def parse_embed_request(fields: Fields, deployment: Deployment) -> EmbedRequest:
    """Translate the body for a deployment. Raises `Unprocessable`, naming the field."""
    fields.used |= {"model"}
    dimensions = fields.integer("dimensions", 1, MAX_DIMENSIONS)
    return EmbedRequest(
        model=deployment.upstream,
        inputs=read_inputs(fields),
        # The configured length may be shorter than the vendor's default.
        dimensions=dimensions or (deployment.dimensions if shortens_vectors(deployment) else None),
        user=fields.text("user", most=500),
    )


def read_inputs(fields: Fields) -> tuple[str | tuple[int, ...], ...]:
    """`input`: a text, a list of texts, a list of tokens, or a list of those."""
    value = fields.get("input")
    if value is None:
        raise fields.invalid("input", "is missing")
    if isinstance(value, list) and value and all(is_token(one) for one in value):
        value = [value]
    inputs: list[Any] = value if isinstance(value, list) else [value]
    if not 1 <= len(inputs) <= MAX_INPUTS:
        raise fields.invalid("input", f"must hold 1 to {MAX_INPUTS} entries")
    return tuple(read_input(fields, at, one) for at, one in enumerate(inputs))


def read_input(fields: Fields, at: int, value: Any) -> str | tuple[int, ...]:
    """One input."""
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(is_token(one) for one in value):
        return tuple(value)
    raise fields.invalid(f"input[{at}]", "must be text that is not empty, or a list of tokens")


def is_token(value: Any) -> bool:
    """Whether a value can be a token id."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
