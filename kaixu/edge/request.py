"""A request as handlers get it: plain values and the complete body."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl

import msgspec

from kaixu.accounts.operator_identity import Identity
from kaixu.config.tags import program_tag
from kaixu.ops.call_facts import CallFacts
from kaixu.ops.random_ids import random_uuid
from kaixu.ops.trace_context import read_trace
from kaixu.plugin.errors import Invalid

if TYPE_CHECKING:
    from hypercorn.typing import HTTPScope

MAX_ARGS = 50

#: Headers that may be repeated and are then joined to one list (RFC 9110 §5.3).
LISTS = frozenset({"content-encoding", "access-control-request-headers", "tracestate"})

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Headers(Protocol):
    """A request's headers by name."""

    def get(self, name: str, /) -> str | None: ...


class ReplyProgress(msgspec.Struct):
    """How far the reply to a request is. `status`: of the reply that has begun."""

    began_at: float = msgspec.field(default_factory=monotonic)
    status: int | None = None
    bytes_received: int = 0  # of the body
    bytes_sent: int = 0
    is_client_gone: bool = False


class UploadSource(Protocol):
    """A body that is still to be read."""

    @property
    def announced_bytes(self) -> int: ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives, once."""
        ...


class IncomingRequest(msgspec.Struct, frozen=True):
    """One request. Header names are in lower case; `address` is the client's.

    `parameters`: the values of the parameters in the route's path. `facts`: what is learned about the call, for the
    record of its end. `operator`: whose credential it has, on routes for operators. `upload`: the body
    that was not read yet, on routes for uploads.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    address: str
    query: str = ""
    parameters: Mapping[str, str] = {}
    facts: CallFacts = msgspec.field(default_factory=CallFacts)
    progress: ReplyProgress = msgspec.field(default_factory=ReplyProgress)
    operator: Identity | None = None
    upload: UploadSource | None = None

    @property
    def identity(self) -> Identity:
        """The operator of a request on a route for operators."""
        assert self.operator is not None
        return self.operator

    @property
    def app_id(self) -> str | None:
        """The client's program, from `x-kaixu-app`; None: not named."""
        return program_tag(self.headers.get("x-kaixu-app"))

    @property
    def build_id(self) -> str | None:
        """The version of the client's program, from `x-kaixu-build`; None: not named."""
        return program_tag(self.headers.get("x-kaixu-build"))

    @property
    def args(self) -> dict[str, str]:
        """The query's fields; the first value of a repeated one. Raises `Invalid` for too many."""
        try:
            pairs = parse_qsl(self.query, keep_blank_values=True, max_num_fields=MAX_ARGS, errors="replace")
        except ValueError:
            raise Invalid(f"the query has more than {MAX_ARGS} fields") from None
        return dict(reversed(pairs))


def header_name(raw: bytes) -> str:
    """A header's name as text, in lower case."""
    return raw.decode("latin-1").lower()


#: Clients send few different names.
short_header_name = lru_cache(maxsize=500)(header_name)
MAX_CACHED_NAME = 64


def parse_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """ASGI's headers as text; the first value of a repeated one, except for `LISTS`."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = short_header_name(raw_name) if len(raw_name) <= MAX_CACHED_NAME else header_name(raw_name)
        value = raw_value.decode("latin-1")
        if name in LISTS and name in headers:
            headers[name] += f", {value}"
        else:
            headers.setdefault(name, value)
    return headers


def parse_scope(scope: HTTPScope, path: str, address: str) -> IncomingRequest:
    """Build a request, without its body, from the ASGI scope."""
    headers = parse_headers(scope["headers"])
    return IncomingRequest(
        scope["method"],
        path,
        headers,
        b"",
        read_request_id(headers),
        address,
        scope["query_string"].decode("latin-1"),
        facts=CallFacts(
            app_id=program_tag(headers.get("x-kaixu-app")),
            build_id=program_tag(headers.get("x-kaixu-build")),
            trace=read_trace(headers.get("traceparent"), headers.get("tracestate")),
        ),
    )


def read_request_id(headers: Headers) -> str:
    """The client's request id if it has only safe characters; otherwise a new one."""
    given = headers.get("x-kaixu-request-id") or headers.get("x-request-id")
    return given if given is not None and REQUEST_ID.fullmatch(given) else str(random_uuid())
