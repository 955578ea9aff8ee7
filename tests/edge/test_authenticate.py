"""The caller of a request, from the format of its credential."""

from __future__ import annotations

import pytest

from kaixu.accounts.key_material import key_hash, legacy_hash, new_key
from kaixu.config.environment import Secrets
from kaixu.edge.authenticate import bearer, read_caller
from kaixu.edge.request import IncomingRequest
from kaixu.edge.tokens import make_session_token
from kaixu.metering.gate import Caller
from kaixu.plugin.errors import Unauthenticated

KEY, OTHER = new_key(), new_key()
#: As LiteLLM makes them.
IMPORTED = "sk-0123456789abcdefABCDEF"
SECRETS = Secrets("admin", "jwt-secret-for-tests-0123456789-0123", "pepper", "encryption")


def request_with(**headers: str) -> IncomingRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return IncomingRequest("POST", "/v1/messages", named, b"", "r", "192.0.2.1")


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"authorization": f"Bearer {KEY}"}, KEY),
        ({"authorization": f"bearer   {KEY} "}, KEY),
        ({"x-api-key": f" {KEY} "}, KEY),
        ({"authorization": f"Bearer {KEY}", "x-api-key": OTHER}, KEY),
        ({"authorization": "Bearer ", "x-api-key": OTHER}, OTHER),
        ({"authorization": "Basic abc", "x-api-key": OTHER}, OTHER),
        ({"authorization": f"Bearer {IMPORTED}"}, IMPORTED),
        ({"authorization": f"Bearer {IMPORTED}", "x-api-key": KEY}, KEY),
        ({"authorization": f"Bearer {IMPORTED}", "x-api-key": "a.b.c"}, "a.b.c"),
        ({"authorization": "Bearer placeholder", "x-api-key": IMPORTED}, IMPORTED),
    ],
    ids=[
        "bearer",
        "bearer in another case",
        "x-api-key",
        "both",
        "an empty bearer",
        "another scheme",
        "of another gateway",
        "one of ours beside one of another gateway",
        "a session beside one of another gateway",
        "a placeholder beside one of another gateway",
    ],
)
def test_the_credential(headers: dict[str, str], token: str) -> None:
    assert bearer(headers) == token


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": KEY}, {"authorization": "Basic abc"}, {"x-api-key": " "}],
    ids=["none", "no scheme", "another scheme", "blank"],
)
def test_no_credential(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        bearer(headers)


@pytest.mark.parametrize("header", ["authorization", "x_api_key"])
def test_a_key_and_a_session_are_callers_in_either_header(header: str) -> None:
    prefix = "Bearer " if header == "authorization" else ""
    by_key = read_caller(request_with(**{header: prefix + KEY}, x_install_id="i", user_agent="a"), SECRETS)
    assert by_key == Caller(key_hash(SECRETS.key_pepper, KEY), legacy_hash(KEY), None, "i", "a", "r")
    token = make_session_token(SECRETS.jwt_secret, key_id=7, customer_id=8, key_last4="abcd", ttl_s=60)
    by_session = read_caller(request_with(**{header: prefix + token}), SECRETS)
    assert by_session == Caller(None, None, 7, None, None, "r")


def test_a_key_of_another_gateway_is_a_caller_by_both_hashes() -> None:
    caller = read_caller(request_with(x_api_key=IMPORTED), SECRETS)
    assert (caller.key_hash, caller.legacy_hash) == (key_hash(SECRETS.key_pepper, IMPORTED), legacy_hash(IMPORTED))


@pytest.mark.parametrize(
    "token", ["nonsense", "a.b.c", "kx_short", "sk-1234", "sk-with space in it 0123", "sk-" + "a" * 193]
)
def test_what_is_neither_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        read_caller(request_with(x_api_key=token), SECRETS)
