"""The one field of OpenAI's requests that says both vendor and model."""

from __future__ import annotations

from typing import Any

from kaixu.plugin.errors import Invalid, Unprocessable

MOST_NAME = 300


def read_model(body: dict[str, Any]) -> str:
    """`model`: "provider/model", or a model's name that only one lane has. Raises `Invalid`, `Unprocessable`."""
    model = body.get("model")
    if not isinstance(model, str) or not model.strip():
        raise Invalid("`model` is missing", hint="Send `model` as text, see GET /v1/models.", field="model")
    if len(model) > MOST_NAME or not model.isprintable():
        raise Unprocessable("`model` is not a name", field="model")
    return model.strip()
