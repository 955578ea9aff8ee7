"""One rule for all paths, whichever stack serves them."""

from __future__ import annotations

import re

#: What stands before the path where a client sends the whole URL (RFC 9112 §3.2.2).
ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
SLASHES = re.compile(r"/{2,}")


def plain_path(path: str) -> str:
    """A path as the routers know it: repeated slashes count as one, and one at the end does not matter."""
    if not path.startswith("/"):
        path = ORIGIN.sub("", path, count=1)
        if not path.startswith("/"):
            path = f"/{path}"
    return SLASHES.sub("/", path).rstrip("/") or "/"
