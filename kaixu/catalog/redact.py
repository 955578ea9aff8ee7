"""Keeping secrets out of what a plugin's failure says."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, SecretStr

#: Shorter values are no secrets, and taking "on" or "gpt" out of a sentence would only spoil it.
LEAST = 4


def texts(value: Any) -> set[str]:
    """Every text in a section, however deep."""
    if isinstance(value, str):
        return {value}
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return {text for one in inside for text in texts(one)}


def secret_texts(options: BaseModel) -> set[str]:
    """What the options hold as `SecretStr`."""
    values = [getattr(options, name) for name in type(options).model_fields]
    return {value.get_secret_value() for value in values if isinstance(value, SecretStr)}


def redacted(message: str, values: set[str]) -> str:
    """`message` without any of `values`."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= LEAST:
            message = message.replace(value, "…")
    return message
