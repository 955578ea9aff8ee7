"""The head of an ordinary request, read by one strict pattern."""

from __future__ import annotations

import re
from typing import NamedTuple

#: A larger head is not ordinary: it is left to Hypercorn, which refuses it.
MAX_HEAD_BYTES = 16 * 1024

#: What a whole head must look like: a subset of what RFC 9112 allows, and of what h11 accepts. No folded lines, no
#: space before a colon, no line that ends with a line feed alone, no control characters.
HEAD = re.compile(
    rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) [!-~]+ HTTP/1\.1\r\n"
    rb"(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)+\r\n"
)

LENGTH = re.compile(rb"[0-9]{1,15}")

#: Requests with these are not ordinary: chunked bodies, other protocols, `100-continue`.
NOT_ORDINARY = frozenset({b"transfer-encoding", b"upgrade", b"expect", b"http2-settings"})


class RequestHead(NamedTuple):
    """A head. `size` and `length`: of the head and of the body. `keep_alive`: false for `connection: close`."""

    size: int
    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    length: int
    keep_alive: bool


def parse_head(data: bytes) -> RequestHead | None:
    """The head that `data` begins with; None if it is not complete, or not ordinary.

    Names of headers are in lower case. An ordinary request has one `host`, at most one `content-length` and one
    `connection`, and nothing that changes how its end is found.
    """
    match = HEAD.match(data)
    if match is None or match.end() > MAX_HEAD_BYTES:
        return None
    first, *lines = data[: match.end() - 4].split(b"\r\n")
    method, target, _ = first.split(b" ")
    headers: list[tuple[bytes, bytes]] = []
    hosts = 0
    length = connection = None
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        headers.append((name, value))
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            if length is not None or not LENGTH.fullmatch(value):
                return None
            length = int(value)
        elif name == b"connection":
            if connection is not None:
                return None
            connection = value.lower()
        elif name in NOT_ORDINARY:
            return None
    if hosts != 1 or connection not in (None, b"keep-alive", b"close"):
        return None
    return RequestHead(match.end(), method.decode(), target, headers, length or 0, connection != b"close")
