"""Removes secrets from the error messages of plugins."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, SecretStr

#: Shorter values are not treated as secrets: removing "on" or "gpt" would only spoil a sentence.
LEAST = 4


def texts(value: Any) -> set[str]:
    """Every text in a section, at any depth."""
    if isinstance(value, str):
        return {value}
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return {text for one in inside for text in texts(one)}


def secret_texts(options: BaseModel) -> set[str]:
    """The values of all `SecretStr` in the options, also in lists and mappings."""
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
