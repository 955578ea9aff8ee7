"""Several keys of one vendor: used in turn, each with its own cool-down."""

from __future__ import annotations

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from kaixu.plugin import KeyOptions, Keys
from kaixu.plugin.keys import label_of, signed_with
from kaixu.plugin.refusals import refusal


class Clock:
    """A clock that only moves when a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(clock: Clock) -> Keys:
    return Keys([SecretStr(f"secret-{at}") for at in (1, 2, 3)], clock=clock)


def labels(keys: Keys, count: int) -> list[str]:
    return [keys.next().label for _ in range(count)]


def test_they_are_used_in_turn(keys: Keys) -> None:
    assert labels(keys, 5) == ["key-1", "key-2", "key-3", "key-1", "key-2"]


@pytest.mark.parametrize(
    ("status", "retry_after_s", "body", "cools_s"),
    [
        (429, 7, b"", 7),
        (429, None, b"", 10),
        (429, None, b'{"error": {"code": "insufficient_quota"}}', 300),
        (402, None, b"", 300),
        (401, None, b"", 600),
        (403, None, b"", 600),
        (429, 86_400, b"", 600),
        (400, None, b'{"error": {"code": "context_length_exceeded"}}', 0),
        (500, None, b"", 0),
        (503, 30, b"", 0),
        (529, None, b"", 0),
        (404, None, b"", 0),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_key_that_is_refused_for_its_own_sake_cools_down(
    keys: Keys, clock: Clock, status: int, retry_after_s: int | None, body: bytes, cools_s: int
) -> None:
    key = keys.next()
    error = refusal(status, retry_after_s, body)
    key.refused(error)
    assert (key.is_free, error.another_key) == (cools_s == 0, cools_s > 0)
    clock.now += max(cools_s - 0.5, 0)
    assert key.is_free == (cools_s == 0)
    clock.now += 0.5
    assert key.is_free


def test_where_all_cool_down_the_one_that_is_free_first_is_asked(keys: Keys) -> None:
    for wait_s in (30, 5, 20):
        error = refusal(429, wait_s)
        keys.next().refused(error)
    assert (keys.next().label, error.another_key) == ("key-2", False)


def test_a_request_is_signed_with_the_next_key_and_signed_anew_when_that_cools(keys: Keys) -> None:
    request = keys.sign(httpx.Request("POST", "http://vendor/"))
    assert (request.headers["authorization"], label_of(request)) == ("Bearer secret-1", "key-1")
    key = signed_with(request)
    assert key is not None
    key.refused(refusal(429, 9))
    again = signed_with(request)
    assert again is not None
    assert (again.label, request.headers["authorization"]) == ("key-2", "Bearer secret-2")


def test_a_header_of_the_operator_s_own_is_left_alone(keys: Keys) -> None:
    request = httpx.Request("POST", "http://vendor/", headers={"authorization": "own"})
    assert keys.sign(request).headers["authorization"] == "own"
    assert signed_with(request) is None


def test_what_operators_see_holds_no_key(keys: Keys) -> None:
    keys.next().refused(refusal(401, None))
    states = keys.states()
    assert (states["key-1"]["state"], states["key-1"]["why"], states["key-2"]["state"]) == (
        "cooling",
        "credential",
        "ready",
    )
    assert "secret" not in str(states)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({}, "missing"),
        ({"api_key": "a", "api_keys": ["b"]}, "together with"),
        ({"api_keys": []}, "at least 1"),
        ({"api_keys": ["a", "a"]}, "twice"),
        ({"api_keys": ["a", ""]}, "empty"),
        ({"api_keys": [str(at) for at in range(51)]}, "at most 50"),
    ],
    ids=str,
)
def test_mistakes_are_named(options: dict[str, object], wrong: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KeyOptions.model_validate(options)
    assert wrong in str(caught.value) or wrong in caught.value.errors()[0]["type"]
