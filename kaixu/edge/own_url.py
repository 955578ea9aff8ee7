"""The gateway's own URLs, as a client can call them."""

from __future__ import annotations

import re

from .request import IncomingRequest

#: A valid host in a URL.
HOST = re.compile(r"[A-Za-z0-9.\-_\[\]:]{1,255}")


def own_url(request: IncomingRequest, path: str) -> str:
    """The URL of a path on the host of the request; the path alone if that is no host.

    For replies to whoever sent the request, never for others: a client can send any host.
    """
    host = request.headers.get("host", "")
    if not HOST.fullmatch(host):
        return path
    scheme = "https" if request.headers.get("x-forwarded-proto", "").split(",")[0].strip() == "https" else "http"
    return f"{scheme}://{host}{path}"
