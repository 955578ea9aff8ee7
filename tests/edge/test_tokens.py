"""Tokens: each kind has its own signing key and expires; other texts are invalid."""

from __future__ import annotations

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.edge.tokens import (
    UserSession,
    is_inspection_token,
    make_admin_token,
    make_inspection_token,
    make_session_token,
    read_admin_token,
    read_session_token,
    signing_key,
)

SECRET = "a secret of some length"


def test_a_session_token_says_which_key_it_stands_for() -> None:
    token = make_session_token(SECRET, key_id=7, customer_id=8, key_last4="abcd", ttl_s=60)
    assert read_session_token([SECRET], token) == UserSession(7, 8, "abcd")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 60
    assert claims.items() >= {"type": "user_session", "api_key_id": 7, "customer_id": 8, "key_last4": "abcd"}.items()


def test_a_token_of_one_kind_is_not_valid_as_another() -> None:
    admin, inspection = make_admin_token(SECRET, "random id"), make_inspection_token(SECRET)
    session = make_session_token(SECRET, key_id=7, customer_id=8, key_last4="abcd", ttl_s=60)
    assert [read_admin_token([SECRET], one) for one in (admin, session, inspection)] == ["random id", None, None]
    assert [read_session_token([SECRET], one) is not None for one in (admin, session, inspection)] == [
        False,
        True,
        False,
    ]
    assert [is_inspection_token([SECRET], one) for one in (admin, session, inspection)] == [False, False, True]
    assert signing_key(SECRET, "admin") != signing_key(SECRET, "session")


def test_an_expired_token_and_one_of_another_secret_are_none() -> None:
    expired = make_session_token(SECRET, key_id=7, customer_id=8, key_last4="abcd", ttl_s=-1)
    assert read_session_token([SECRET], expired) is None
    assert read_admin_token([SECRET + "x"], make_admin_token(SECRET, "random id")) is None
    assert read_admin_token([SECRET], make_admin_token(SECRET, "random id", ttl_s=-1)) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"type": "user_session", "api_key_id": 1, "customer_id": 1},
        {"type": "other", "api_key_id": 1, "customer_id": 1, "iat": 1, "exp": 2**40},
        {"type": "user_session", "api_key_id": "x", "customer_id": 1, "iat": 1, "exp": 2**40},
        {"type": "user_session", "customer_id": 1, "iat": 1, "exp": 2**40},
    ],
)
def test_a_signed_token_with_wrong_claims_is_refused(claims: dict[str, object]) -> None:
    token = jwt.encode(claims, signing_key(SECRET, "session"), algorithm="HS256")
    assert read_session_token([SECRET], token) is None


@given(st.text())
def test_any_other_text_is_no_token(text: str) -> None:
    assert read_admin_token([SECRET], text) is None
    assert not is_inspection_token([SECRET], text)
    assert read_session_token([SECRET], text) is None


def test_while_the_secret_is_replaced_tokens_by_either_one_are_accepted() -> None:
    new, old = "a new secret", SECRET
    session = make_session_token(old, key_id=7, customer_id=8, key_last4="abcd", ttl_s=60)
    admin, inspection = make_admin_token(old, "random id"), make_inspection_token(old)
    for secrets in ((new, old), (old, new)):
        assert read_session_token(secrets, session) == UserSession(7, 8, "abcd")
        assert read_admin_token(secrets, admin) == "random id"
        assert is_inspection_token(secrets, inspection)
        assert read_session_token(secrets, admin) is None
    assert read_session_token([new], session) is None
    expired = make_session_token(old, key_id=7, customer_id=8, key_last4="abcd", ttl_s=-1)
    assert read_session_token((new, old), expired) is None
