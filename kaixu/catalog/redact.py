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
    """What the options hold as `SecretStr`, also in lists and mappings."""
    return {text for name in type(options).model_fields for text in secrets_in(getattr(options, name))}


def secrets_in(value: Any) -> set[str]:
    """Every `SecretStr` in a value."""
    if isinstance(value, SecretStr):
        return {value.get_secret_value()}
    if isinstance(value, BaseModel):
        return secret_texts(value)
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
    return {text for one in inside for text in secrets_in(one)}


def redacted(message: str, values: set[str]) -> str:
    """`message` without any of `values`."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= LEAST:
            message = message.replace(value, "…")
    return message
