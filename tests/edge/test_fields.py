"""JSON bodies: an object, also one that is encoded twice; anything else is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kaixu.edge.fields import read_stored_fields
from kaixu.edge.request import IncomingRequest
from kaixu.plugin.errors import Invalid

OBJECTS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text())


def read(data: bytes, *, optional: bool = False) -> dict[str, object]:
    """The fields of a request with this body."""
    request = IncomingRequest("POST", "/", {}, data, "id", "192.0.2.1")
    return read_stored_fields(request, may_be_empty=optional).value


@given(OBJECTS)
def test_an_object_is_read_encoded_once_or_twice(value: dict[str, object]) -> None:
    assume("\\u0000" not in json.dumps(value))  # refused for another reason
    once = json.dumps(value)
    assert read(once.encode()) == value
    assert read(json.dumps(once).encode()) == value


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"1", b'"text"', b'"{"', b"\xff", b"null", b"[" * 10_000, b'{"a": NaN}'],
    ids=lambda data: repr(data[:9]),
)
def test_anything_else_is_a_400(data: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        read(data)
    assert (caught.value.status, caught.value.code) == (400, "BAD_JSON")


def test_an_optional_body_may_be_empty_but_not_broken() -> None:
    assert read(b" ", optional=True) == {}
    with pytest.raises(Invalid):
        read(b"{", optional=True)
