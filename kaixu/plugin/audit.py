"""Entries of an integration in the audit log: what only the integration knows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

#: An action, in capitals as the gateway's own are.
ACTION = re.compile(r"[A-Z][A-Z0-9_]{2,59}")

#: Characters of a target; bytes of `before` and `after`, each as JSON.
MOST_TARGET = 200
MOST_VALUES = 4096


class AuditEntry(msgspec.Struct, frozen=True):
    """Something to be written to the audit log."""

    action: str
    target: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None

    @property
    def texts(self) -> Iterator[str]:
        """Everything in it that somebody reads."""
        yield self.target or ""
        for values in (self.before, self.after):
            yield "" if values is None else msgspec.json.encode(values).decode()


def audit_entry(
    action: str, target: str | None, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> AuditEntry:
    """An entry as an integration asks for it. Raises `ValueError`: a mistake of the plugin."""
    if not isinstance(action, str) or not ACTION.fullmatch(action):
        raise ValueError('an action is a name of 3 to 60 capitals, digits and "_"')
    if target is not None and (
        not isinstance(target, str) or not 0 < len(target) <= MOST_TARGET or not target.isprintable()
    ):
        raise ValueError(f"a target of the audit log is a text of 1 to {MOST_TARGET} printable characters")
    return AuditEntry(action, target, values_of("before", before), values_of("after", after))


def values_of(name: str, values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What was there before or after, as plain JSON. Raises `ValueError`."""
    if values is None:
        return None
    try:
        encoded = msgspec.json.encode(values)
        plain = msgspec.json.decode(encoded)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"`{name}` of the audit log cannot be written as JSON") from error
    if not isinstance(plain, dict) or len(encoded) > MOST_VALUES or b"\\u0000" in encoded:
        raise ValueError(f"`{name}` of the audit log is a JSON object of up to {MOST_VALUES} bytes")
    return plain
