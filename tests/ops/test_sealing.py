from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from kaixu.ops.sealing import Sealer

SEALER = Sealer("a secret of the operator's")


@given(data=st.binary(max_size=2000), about=st.text(max_size=50))
def test_what_is_sealed_opens_again_and_never_looks_the_same(data: bytes, about: str) -> None:
    sealed = SEALER.seal(data, about)
    assert SEALER.open(sealed, about) == data
    assert SEALER.seal(data, about) != sealed
    assert len(data) < 4 or data not in sealed


@given(data=st.binary(max_size=200), at=st.integers(0), bit=st.integers(0, 7))
def test_a_changed_bit_opens_nothing(data: bytes, at: int, bit: int) -> None:
    sealed = bytearray(SEALER.seal(data, "a"))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(InvalidTag):
        SEALER.open(bytes(sealed), "a")


def test_it_opens_for_nothing_else_and_with_no_other_secret() -> None:
    sealed = SEALER.seal(b"data", "job:1:payload")
    for sealer, about in ((SEALER, "job:2:payload"), (SEALER, "job:1:result"), (Sealer("another"), "job:1:payload")):
        with pytest.raises(InvalidTag):
            sealer.open(sealed, about)
    for nonsense in (b"", b"\x01", b"\x02" + sealed[1:], sealed[:12]):
        with pytest.raises(InvalidTag):
            SEALER.open(nonsense, "job:1:payload")


@pytest.mark.parametrize("form", ["seal", "seal_named"])
def test_what_an_older_key_sealed_opens_and_is_sealed_again(form: str) -> None:
    new, both = Sealer("another secret"), Sealer("another secret", ["a secret of the operator's"])
    sealed = getattr(SEALER, form)(b"data", "a")
    assert both.open(sealed, "a") == b"data"
    again = both.resealed(sealed, "a")
    assert again is not None
    assert (again[:1], new.open(again, "a"), both.resealed(again, "a")) == (sealed[:1], b"data", None)
    for sealer, about in ((new, "a"), (both, "b"), (SEALER, "b")):
        with pytest.raises(InvalidTag):
            sealer.resealed(sealed, about)
    with pytest.raises(InvalidTag):
        SEALER.open(again, "a")


def test_sealed_data_names_its_key_and_cannot_name_another() -> None:
    sealed, other = SEALER.seal_named(b"data", "a"), Sealer("another secret").seal_named(b"data", "a")
    assert sealed[:9] == SEALER.seal_named(b"more", "b")[:9] != other[:9]
    for changed in (other[:9] + sealed[9:], b"\x01" + sealed[1:], b"\x01" + sealed[9:], sealed[:9], sealed[:21]):
        with pytest.raises(InvalidTag):
            SEALER.open(changed, "a")
