"""The input of an operation, whatever is sent: it is read as its type says, or refused with a field's name."""

from __future__ import annotations

import datetime
import enum
import json
import uuid
from typing import Annotated, Any, cast
from urllib.parse import urlencode

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from kaixu.catalog.input_plan import input_plan
from kaixu.edge.operation_input import read_input
from kaixu.edge.request import IncomingRequest
from kaixu.plugin import Body, Clamped, Free, Header, Operation, Query, RawBody
from kaixu.plugin.errors import Invalid


class Colour(enum.Enum):
    """A word of a list."""

    RED = "red"


class Inner(msgspec.Struct):
    """An object inside."""

    deep: int
    names: dict[str, list[str]] = {}


class Everything(msgspec.Struct):
    """A field of each kind, from each place."""

    id: str
    number: Annotated[int, Body("number", "the_number", lax=True)]
    page: Annotated[int, Clamped(1, 100, default=5)]
    share: Annotated[float, Query("share"), Clamped(0, 1, default=0.5)]
    day: Annotated[datetime.date | None, Query("day")] = None
    token: Annotated[uuid.UUID | None, Header("x-token")] = None
    colours: Annotated[list[Colour], Query("colour")] = []
    inner: Inner | None = None
    anything: Any = None
    short: Annotated[str, msgspec.Meta(max_length=3, pattern="^[a-z]*$")] = ""


class Picky(msgspec.Struct, forbid_unknown_fields=True):
    """Checks itself, and knows its fields."""

    a: int = 0
    b: Annotated[float, Query("b")] = 0.0

    def __post_init__(self) -> None:
        if self.a > 10:
            raise ValueError("`a` is too large")


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    """The body as a whole."""

    a: int = 0
    inner: Inner | None = None


class Raw(msgspec.Struct):
    """Bytes, and a query."""

    data: Annotated[bytes, RawBody()]
    path: Annotated[str, Query()] = ""


async def do(call: Any) -> Whole:
    """Any handler."""
    return Whole()


PLANS = [
    input_plan(Operation("a.b", do, kind, Free("a test"), path=path, method=cast(Any, method)))
    for kind, path, method in (
        (Everything, "/{id}", "POST"), (Picky, None, "PATCH"), (Whole, None, "POST"), (Raw, None, "PUT"),
    )
]  # fmt: skip
NAMES = [
    "number",
    "the_number",
    "page",
    "share",
    "day",
    "colour",
    "inner",
    "deep",
    "anything",
    "short",
    "a",
    "b",
    "path",
]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["1", "-5", "2.5", "red", "2026-01-01", "9" * 200, "1e999", "nan", "\0", "\ud800", ""])
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
BODIES = (
    OBJECTS.map(lambda one: json.dumps(one).encode())
    | OBJECTS.map(lambda one: json.dumps(json.dumps(one)).encode())
    | VALUES.map(lambda one: json.dumps(one).encode())
    | st.binary(max_size=30)
    | st.sampled_from(
        [b"", b" ", b"{", b"[" * 100_000, b'"' + b"[" * 5000 + b'"', b'{"a": 1e400}', b'"\\"\\\\u0000\\""']
    )
)
QUERIES = st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=6) | LEAVES.map(str)), max_size=5).map(
    lambda pairs: urlencode([(name, value.encode("utf-8", "replace")) for name, value in pairs])
)
HEADERS = st.dictionaries(
    st.sampled_from(["x-token"]), st.text(max_size=5) | st.just("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
)


def result_of(plan: Any, request: IncomingRequest) -> msgspec.Struct | Invalid:
    """The input, or the refusal."""
    try:
        return read_input(plan, request)
    except Invalid as error:
        return error


@given(st.sampled_from(PLANS), BODIES, QUERIES, HEADERS)
@example(PLANS[0], b'{"number": 1, "page": 1e300}', "share=1" + "0" * 100, {})
@example(PLANS[1], b'{"a": 11}', "b=nan", {})
def test_nonsense_is_refused_and_never_breaks(plan: Any, body: bytes, query: str, headers: dict[str, str]) -> None:
    value = result_of(plan, IncomingRequest("POST", "/", headers, body, "id", "127.0.0.1", query, {"id": "x"}))
    if isinstance(value, Invalid):
        assert 400 <= value.status < 500
        assert len(value.message) < 1000
        return
    assert isinstance(value, plan.body)
    if isinstance(value, Everything):
        assert value.id == "x"
        assert isinstance(value.number, int)
        assert 1 <= value.page <= 100
        assert 0 <= value.share <= 1
        assert len(value.short) <= 3
    if isinstance(value, Picky):
        assert value.a <= 10
    if isinstance(value, Raw):
        assert value.data == body


@given(st.integers(-(2**62), 2**62), st.booleans(), st.booleans())
def test_a_number_means_the_same_as_number_text_and_under_each_name(n: int, is_text: bool, is_second: bool) -> None:
    name = "the_number" if is_second else "number"
    body = json.dumps({"number": None, name: str(n) if is_text else n, "page": str(n)}).encode()
    request = IncomingRequest("POST", "/", {}, body, "id", "127.0.0.1", "", {"id": "x"})
    value = read_input(PLANS[0], request)
    assert isinstance(value, Everything)
    assert (value.number, value.page) == (n, min(100, max(1, n)))
