"""How a body is delimited, where HTTP/1.1 leaves room for two readings."""

from __future__ import annotations

from collections.abc import Iterable

from kaixu.plugin.errors import Invalid


class Ambiguous(Invalid):
    """The request can be read in two ways (request smuggling): nothing more is read from its connection."""


def insist_on_one_length(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises `Ambiguous` for a body with both a length and chunks (RFC 9112 §6.1): the means of request smuggling."""
    names = {name.lower() for name, _ in headers}
    if b"content-length" in names and b"transfer-encoding" in names:
        raise Ambiguous("a request has content-length or transfer-encoding, not both", hint="Leave content-length out.")
