"""Read the field `model` of OpenAI's and Anthropic's requests, which may include the provider."""

from __future__ import annotations

from typing import Any

from kaixu.plugin.errors import Invalid, Unprocessable

MAX_NAME = 300


def read_model(body: dict[str, Any]) -> str:
    """`model`: "provider/model", or the name of a model that only one lane has. Raises `Invalid`, `Unprocessable`."""
    model = body.get("model")
    if not isinstance(model, str) or not model.strip():
        raise Invalid("`model` is missing", hint="Send `model` as text, see GET /v1/models.", field="model")
    if len(model) > MAX_NAME or not model.isprintable():
        raise Unprocessable("`model` is not a name", field="model")
    return model.strip()
