"""The error that an integration defines itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from kaixu.plugin.errors.base import KaixuError

CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

#: The gateway's own fields of an error body.
RESERVED = frozenset({"error", "code", "hint", "field", "request_id"})

MOST_CODE = 64
MOST_TEXT = 1000
MOST_FIELDS = 32
MOST_FIELDS_BYTES = 8192
MOST_WAIT_S = 7 * 24 * 3600


class Failure(KaixuError):
    """An error with a status and a code of the integration's own, for its clients.

    `fields`: further fields of the error body: plain values, at most 32 and 8 KiB. A message or hint of more than 1000
    characters is cut. Raises `ValueError` for a status that is no error, a code that is not in capital letters, and a
    field that the gateway uses itself.
    """

    code = "FAILURE"

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        retry_after_s: int | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"the status of an error lies between 400 and 599, not at {status}")
        if len(code) > MOST_CODE or not CODE.fullmatch(code):
            raise ValueError(f"{code[:MOST_CODE]!r} is not the code of an error: write it LIKE_THIS")
        if retry_after_s is not None and not 0 <= retry_after_s <= MOST_WAIT_S:
            raise ValueError(f"`retry_after_s` lies between 0 and {MOST_WAIT_S}")
        super().__init__(
            message[:MOST_TEXT],
            hint=None if hint is None else hint[:MOST_TEXT],
            retry_after_s=None if retry_after_s is None else int(retry_after_s),
            code=code,
        )
        self.status = int(status)
        self.figures = checked_fields(fields or {})


def checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as plain values. Raises `ValueError`."""
    if len(fields) > MOST_FIELDS:
        raise ValueError(f"an error has at most {MOST_FIELDS} fields of its own")
    for name in fields:
        if not NAME.fullmatch(name) or name in RESERVED:
            raise ValueError(f"an error cannot have a field {name[:64]!r}")
    try:
        encoded = msgspec.json.encode(dict(fields))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the fields of an error cannot be written as JSON: {error}") from None
    if len(encoded) > MOST_FIELDS_BYTES:
        raise ValueError(f"the fields of an error are longer than {MOST_FIELDS_BYTES} bytes")
    plain: dict[str, Any] = msgspec.json.decode(encoded)
    return plain
