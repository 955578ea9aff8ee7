"""The head of an HTTP/1.1 request: its bytes, checked, and how its body is framed."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache

import httpx

#: A method and a header's name are tokens (RFC 9110 §5.6.2).
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

NOT_ALLOWED = "the request's method, path or headers have characters that are not allowed"


@lru_cache(maxsize=1000)
def lower_token(name: bytes) -> bytes:
    """A token in lower case. Raises `httpx.LocalProtocolError` for anything else."""
    if TOKEN.fullmatch(name) is None:
        raise httpx.LocalProtocolError(NOT_ALLOWED)
    return name.lower()


def request_head(request: httpx.Request, size: int | None) -> tuple[bytes, int | None, bool]:
    """The head, the body's length (None: it is chunked), and whether the connection is closed after the reply.

    `size`: of a body in memory; None for a streamed one, whose length is the declared one, if any. A
    `transfer-encoding` in the headers is replaced by the one that is used.

    Raises `httpx.LocalProtocolError` for what cannot be sent; the message quotes nothing of it.
    """
    url, method = request.url, request.method.encode()
    lower_token(method)
    target = url.raw_path
    if len(target.split()) != 1:
        raise httpx.LocalProtocolError(NOT_ALLOWED)
    lines = [b"%b %b HTTP/1.1\r\n" % (method, target)]
    declared: bytes | None = None
    has_host = has_authorization = is_last = False
    for name, value in request.headers.raw:
        lower = lower_token(name)
        if lower == b"content-length":
            if declared is not None or not value.isdigit() or len(value) > 18:
                raise httpx.LocalProtocolError("the request's content-length is not one number")
            declared = value
            continue
        if lower == b"transfer-encoding":
            continue
        if lower == b"host":
            has_host = True
        elif lower == b"authorization":
            has_authorization = True
        elif lower == b"connection" and b"close" in value.lower():
            is_last = True
        lines.append(b"%b: %b\r\n" % (name, value))
    if not has_host:
        lines.insert(1, b"host: %b\r\n" % url.netloc)
    if not has_authorization and url.userinfo:
        lines.append(b"authorization: Basic %b\r\n" % b64encode(f"{url.username}:{url.password}".encode()))
    length = size
    if declared is not None:
        length = int(declared)
        if size is not None and size != length:
            raise httpx.LocalProtocolError("the request's content-length is not the length of its body")
    if length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif length or declared is not None:
        lines.append(b"content-length: %d\r\n" % length)
    lines.append(b"\r\n")
    head = b"".join(lines)
    # Each line has one break, its own: a value cannot smuggle in a header (RFC 9110 §5.5).
    if not head.count(b"\n") == head.count(b"\r") == len(lines) or b"\0" in head:
        raise httpx.LocalProtocolError(NOT_ALLOWED)
    return head, length, is_last
