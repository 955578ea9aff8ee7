"""Locations of redirects that every client can read."""

from __future__ import annotations

#: Characters. Clients and proxies refuse a line of headers of more than 8,190 bytes.
MOST_LOCATION = 4000


def short_location(location: str) -> str:
    """The location; without its query if it is too long for a header."""
    return location if len(location) <= MOST_LOCATION else location.partition("?")[0]
