"""A request of a lane, built in a fraction of the time that `httpx.Request(content=...)` takes."""

from __future__ import annotations

import httpx

from kaixu.plugin.request_headers import set_header


def post(url: httpx.URL, headers: httpx.Headers, content: bytes) -> httpx.Request:
    """A POST request with a body in memory. `headers` are copied; the transport adds `content-length`."""
    request = httpx.Request("POST", url, headers=headers, stream=httpx.ByteStream(content))
    set_header(request.headers, b"host", url.netloc.decode("ascii"))
    request.read()
    return request
