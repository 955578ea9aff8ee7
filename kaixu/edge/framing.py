"""Refuse requests with an ambiguous length or host, which request smuggling relies on."""

from __future__ import annotations

from collections.abc import Iterable

from kaixu.plugin.errors import Invalid


class AmbiguousRequest(Invalid):
    """The request is ambiguous: its connection is closed."""


def require_unambiguous(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises `AmbiguousRequest` for a request that servers may parse differently.

    A body with both a length and chunks (RFC 9112 §6.1), a transfer coding other than `chunked` (§7), two hosts (§3.2).
    Each server refuses some of these itself, none refuses all.
    """
    coded: list[bytes] = []
    hosts = lengths = 0
    for raw_name, value in headers:
        name = raw_name.lower()
        if name == b"transfer-encoding":
            coded += [one.strip().lower() for one in value.split(b",")]
        elif name == b"content-length":
            lengths += 1
        elif name == b"host":
            hosts += 1
    if lengths and coded:
        raise AmbiguousRequest(
            "a request has content-length or transfer-encoding, not both", hint="Leave content-length out."
        )
    if coded and coded != [b"chunked"]:
        raise AmbiguousRequest("the only supported transfer-encoding is chunked", hint="Use content-encoding instead.")
    if hosts > 1:
        raise AmbiguousRequest("a request has one host")
