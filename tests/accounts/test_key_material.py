"""What keys look like, and what is kept of them."""

from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from kaixu.accounts.key_material import is_key_shaped, key_hash, legacy_hash, new_key

BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_a_new_key_has_56_characters_and_looks_like_one() -> None:
    for key in {new_key() for _ in range(1000)}:
        assert len(key) == 56
        assert key.startswith("kx_live_")
        assert is_key_shaped(key)


def test_no_two_keys_are_alike() -> None:
    assert len({new_key() for _ in range(1000)}) == 1000


@given(st.text(BASE64URL, max_size=250))
def test_a_key_is_51_to_200_characters_long(rest: str) -> None:
    assert is_key_shaped(f"kx_live_{rest}") == (51 <= len(rest) + 8 <= 200)


@given(st.text())
def test_other_texts_are_not_keys(text: str) -> None:
    assert not is_key_shaped(text)
    assert not is_key_shaped(f"kx_live_{'a' * 48}{text or ' '} ")


@given(st.text(), st.text(BASE64URL))
def test_a_hash_needs_the_pepper(pepper: str, key: str) -> None:
    assert key_hash(pepper, key) == hmac.new(pepper.encode(), key.encode(), hashlib.sha256).digest()
    assert legacy_hash(key) == hashlib.sha256(key.encode()).digest()
