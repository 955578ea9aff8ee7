"""What an operation may answer with besides a Struct, which is JSON with the status 200."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

#: What a stream of events consists of: the data of an event, or its name and its data.
StreamItem = msgspec.Struct | tuple[str, msgspec.Struct]


class Reply(msgspec.Struct, frozen=True):
    """JSON with a status and headers of its own; with `body=None` there is no body."""

    body: msgspec.Struct | None
    status: int = 200
    headers: Mapping[str, str] = {}


class Text(msgspec.Struct, frozen=True):
    """Plain text."""

    text: str
    status: int = 200


class Bytes(msgspec.Struct, frozen=True):
    """A file. `file_name`: the name that a browser stores it under; without one it may show it, without scripts."""

    data: bytes
    content_type: str = "application/octet-stream"
    file_name: str | None = None
    status: int = 200


class Redirect(msgspec.Struct, frozen=True):
    """The way to another address: a path of this gateway, or an https URL."""

    url: str
    status: int = 303


class PageLink(msgspec.Struct, frozen=True):
    """A link of a page: its text, and a path of this gateway or an https URL."""

    text: str
    url: str


class Page(msgspec.Struct, frozen=True):
    """A page in the gateway's frame, for somebody who reads it in a browser. Plain text: the gateway escapes it."""

    title: str
    text: str
    link: PageLink | None = None
    status: int = 200


class Events(msgspec.Struct, frozen=True):
    """Server-sent events from an async generator, which yields Structs, or names with Structs.

    The gateway sends pings while nothing is yielded. The call is settled when the generator ends, or is closed because
    the client has left. The operation's time limit holds for the whole stream.
    """

    stream: AsyncIterator[Any]
