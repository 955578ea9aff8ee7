"""Normalize paths, and build the paths of functions."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from kaixu.plugin.errors import Invalid

#: Scheme and host, if a client sends an absolute URL instead of a path (RFC 9112 §3.2.2).
ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
SLASHES = re.compile(r"/{2,}")

#: Each function is served under both prefixes.
FUNCTION_PREFIXES = ("/.netlify/functions", "/api")

#: Functions that error hints mention: they issue credentials.
LOGIN, SESSION_TOKEN = "admin-login", "session-token"


def function_paths(name: str) -> tuple[str, ...]:
    """The paths of the function `name`."""
    return tuple(f"{prefix}/{name}" for prefix in FUNCTION_PREFIXES)


def normalize_path(path: str) -> str:
    """Normalize a path: repeated slashes become one, a trailing slash is removed."""
    if path.startswith("/") and not path.endswith("/") and "//" not in path:
        return path
    if not path.startswith("/"):
        path = ORIGIN.sub("", path, count=1)
        if not path.startswith("/"):
            path = f"/{path}"
    return SLASHES.sub("/", path).rstrip("/") or "/"


def require_no_nul(path: str, query: bytes) -> None:
    """Raises `Invalid` for a NUL character in the path or the query: Postgres cannot store it."""
    if "\0" in path:
        raise Invalid("the path contains a NUL character")
    if b"\0" not in query and b"%00" not in query:
        return
    for one in query.split(b"&"):
        decoded = unquote_to_bytes(one)
        if b"\0" in decoded:
            name = decoded.partition(b"=")[0].replace(b"\0", b"").decode("utf-8", "replace")[:100]
            raise Invalid(f"`{name}` contains a NUL character", field=name or None)
