"""Secrets that an integration stores for its customers: tokens that they gave it, encrypted by the core."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from kaixu.plugin.errors import PluginError, Unprocessable

#: The most bytes of a value, and of its `meta` as JSON.
MOST_VALUE_BYTES = 16 * 1024
MOST_META_BYTES = 4 * 1024

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
SHOWN_AS = re.compile(r"has_[a-z0-9_]{1,40}")

NUL = b"\\u0000"


class Secret(msgspec.Struct, frozen=True):
    """A secret that each customer can have. `title` is for operators.

    `shown_as`: a field of `admin-customers`, "has_…", that says whether the customer has it. `by_customer`: customers
    may set and clear it themselves.
    """

    name: str
    title: str
    shown_as: str | None = None
    by_customer: bool = False


class SecretInfo(msgspec.Struct, frozen=True):
    """What may be shown of a secret: its `meta`, when it was set, and by whom."""

    meta: dict[str, Any]
    set_at: datetime
    set_by: str


class SecretValue(msgspec.Struct, frozen=True):
    """A secret, and which value it is: another `version` each time that one is stored."""

    value: str
    version: str


class Secrets(Protocol):
    """The secrets of the call's own customer, those that the integration declares.

    All methods raise `ValueError` for a secret that is not declared and in a call without a customer, and
    `TicketClosed` after the call.
    """

    async def get(self, name: str) -> str | None:
        """The value, or None. Errors and logs of this call do not show it.

        Raises `Conflict` for one that cannot be decrypted, because DB_ENCRYPTION_KEY was changed.
        """
        ...

    async def read(self, name: str) -> SecretValue | None:
        """The value as `get` returns it, with its version, for `clear`."""
        ...

    async def put(self, name: str, value: str, *, meta: Mapping[str, Any] | None = None) -> None:
        """Store a value, in place of the one before.

        `meta` is not encrypted, and shown to operators: JSON of up to 4 KiB. Raises `Unprocessable` for an empty value
        or one of more than 16 KiB.
        """
        ...

    async def clear(self, name: str, *, version: str | None = None) -> bool:
        """Remove the value; whether there was one. With `version` only if it is still that one."""
        ...

    async def info(self, name: str) -> SecretInfo | None:
        """What may be shown of the value; None: there is none."""
        ...


def check_secrets(secrets: tuple[Secret, ...]) -> None:
    """Check what an integration declares. Raises `PluginError`."""
    names = [one.name for one in secrets]
    for at, one in enumerate(secrets):
        if not NAME.fullmatch(one.name):
            raise PluginError(f"secret `{one.name}` must be called as an identifier in lower case")
        if one.name in names[:at]:
            raise PluginError(f"secret `{one.name}` is declared twice")
        if not one.title.strip():
            raise PluginError(f"secret `{one.name}` must have a title")
        if one.shown_as is not None and not SHOWN_AS.fullmatch(one.shown_as):
            raise PluginError(f"secret `{one.name}`: `shown_as` must be called `has_…`, not `{one.shown_as}`")


def require_value(value: object, field: str) -> str:
    """A secret's value. Raises `Unprocessable`, which names the field and not the value."""
    if not isinstance(value, str):
        raise Unprocessable(f"`{field}` must be text", field=field)
    if not value.strip():
        raise Unprocessable(f"`{field}` must not be empty", field=field)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise Unprocessable(f"`{field}` has characters that cannot be stored", field=field) from None
    if size > MOST_VALUE_BYTES:
        raise Unprocessable(f"`{field}` is longer than {MOST_VALUE_BYTES >> 10} KiB", field=field)
    return value


def require_meta(meta: Mapping[str, Any], value: str) -> dict[str, Any]:
    """What may be shown of a secret, as JSON. Raises `Unprocessable`, also if the value is in it."""
    try:
        data = msgspec.json.encode(dict(meta))
        plain: dict[str, Any] = msgspec.json.decode(data)
    except (TypeError, ValueError, RecursionError):
        raise Unprocessable("`meta` must be a JSON object", field="meta") from None
    if len(data) > MOST_META_BYTES:
        raise Unprocessable(f"`meta` is longer than {MOST_META_BYTES >> 10} KiB", field="meta")
    if NUL in data:
        raise Unprocessable("`meta` has characters that cannot be stored", field="meta")
    if any(value in text for text in texts_in(plain)):
        raise Unprocessable("`meta` is shown, so the value must not be in it", field="meta")
    return plain


def texts_in(value: object) -> list[str]:
    """All texts of a JSON value, names of fields too."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in texts_in(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts_in(one)]
    return []
