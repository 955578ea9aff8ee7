"""A body is a JSON object, also one that was encoded twice, or it is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from quart import Quart, Request, request

from kaixu.edge.json_body import object_of
from kaixu.plugin.errors import Invalid

OBJECTS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text())


async def read(data: bytes, *, optional: bool = False) -> dict[str, object]:
    """The fields of a request with this body."""
    async with Quart("test").test_request_context("/", method="POST", data=data):
        asked: Request = request
        return await object_of(asked, optional=optional)


@given(OBJECTS)
async def test_an_object_is_read_encoded_once_or_twice(value: dict[str, object]) -> None:
    assume("\\u0000" not in json.dumps(value))  # refused by another rule
    once = json.dumps(value)
    assert await read(once.encode()) == value
    assert await read(json.dumps(once).encode()) == value


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"1", b'"text"', b'"{"', b"\xff", b"null", b"[" * 10_000, b'{"a": NaN}'],
    ids=lambda data: repr(data[:9]),
)
async def test_anything_else_is_a_400(data: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        await read(data)
    assert (caught.value.status, caught.value.code) == (400, "BAD_JSON")


async def test_an_optional_body_may_be_empty_but_not_broken() -> None:
    assert await read(b" ", optional=True) == {}
    with pytest.raises(Invalid):
        await read(b"{", optional=True)
