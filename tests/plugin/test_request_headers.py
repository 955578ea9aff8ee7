"""Headers are set as httpx sets them."""

from __future__ import annotations

import httpx
from hypothesis import given
from hypothesis import strategies as st

from kaixu.plugin.request_headers import has_header, set_header

NAMES = st.sampled_from(["a", "A", "b", "x-client-request-id"])
VALUES = st.text("abc ,=", max_size=5)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4), NAMES.map(str.lower), VALUES)
def test_a_header_is_set_as_httpx_sets_it(given_headers: list[tuple[str, str]], name: str, value: str) -> None:
    encoded = [(one.encode(), text.encode()) for one, text in given_headers]
    ours, theirs = httpx.Headers(encoded), httpx.Headers(encoded)
    assert has_header(ours, name.encode()) is (name in theirs)
    set_header(ours, name.encode(), value)
    theirs[name] = value
    assert ours.raw == theirs.raw
    assert ours == theirs
