"""Paths: their normal form, and the prefixes under which the functions are served."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from kaixu.plugin.errors import Invalid

#: The beginning of a whole URL, where a client sends one in place of a path (RFC 9112 §3.2.2).
ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
SLASHES = re.compile(r"/{2,}")

#: Clients know the functions under either prefix.
FUNCTION_PREFIXES = ("/.netlify/functions", "/api")

#: The functions that hints of errors name: where a caller gets its credential.
LOGIN, SESSION_TOKEN = "admin-login", "session-token"


def function_paths(name: str) -> tuple[str, ...]:
    """The paths of the function `name`."""
    return tuple(f"{prefix}/{name}" for prefix in FUNCTION_PREFIXES)


def normalize_path(path: str) -> str:
    """A path as routes have it: repeated slashes count as one, and one at the end does not matter."""
    if not path.startswith("/"):
        path = ORIGIN.sub("", path, count=1)
        if not path.startswith("/"):
            path = f"/{path}"
    return SLASHES.sub("/", path).rstrip("/") or "/"


def require_no_nul(path: str, query: bytes) -> None:
    """Raises `Invalid` for a NUL character in the path or the query: no database takes one, and no name has one."""
    if "\0" in path:
        raise Invalid("the path holds a NUL character")
    if b"\0" not in query and b"%00" not in query:
        return
    for one in query.split(b"&"):
        decoded = unquote_to_bytes(one)
        if b"\0" in decoded:
            name = decoded.partition(b"=")[0].replace(b"\0", b"").decode("utf-8", "replace")[:100]
            raise Invalid(f"`{name}` holds a NUL character", field=name or None)
