"""Pages are sent compressed: most of a list is the same markup again and again."""

from __future__ import annotations

import gzip
from collections.abc import Mapping

import brotli

from .components import Card, Page, Part, Picture, Snippet
from .static_files import accepted_encodings

#: Smaller pages fit into one packet anyway.
LEAST_BYTES = 1_400

#: Levels that take one or two milliseconds for a page of 100 kB.
BROTLI_LEVEL = 4
GZIP_LEVEL = 4


def compressed(body: bytes, page: Page, headers: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """The body as this browser takes it, and the headers that say so.

    A page that shows a secret is sent as it is: its length would depend on what the secret has in common with the rest.
    """
    vary = {"vary": "accept-encoding"}
    if len(body) < LEAST_BYTES or any(shows_secret(part) for part in page.parts):
        return body, vary
    accepted = accepted_encodings(headers.get("accept-encoding", ""))
    if "br" in accepted:
        return brotli.compress(body, quality=BROTLI_LEVEL), vary | {"content-encoding": "br"}
    if "gzip" in accepted:
        return gzip.compress(body, GZIP_LEVEL, mtime=0), vary | {"content-encoding": "gzip"}
    return body, vary


def shows_secret(part: Part) -> bool:
    """Whether a part shows a secret, itself or inside a card: a key that is shown once, or a QR code and its text."""
    if isinstance(part, Card):
        return any(shows_secret(one) for one in part.parts)
    return isinstance(part, Picture) or (isinstance(part, Snippet) and part.secret)
