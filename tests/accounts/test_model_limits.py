"""The limits of a key for single models, as they are read and shown."""

from __future__ import annotations

import pytest

from kaixu.accounts.model_limits import model_limits, shown_model_limits
from kaixu.plugin.errors import Unprocessable


def test_limits_are_stored_in_nano_dollars_and_shown_in_cents() -> None:
    given = {"Kaixu/a/B": {"rpm": "10", "tpm": 0, "day_cap_cents": 100}, "up/m": {"rpm": None, "tpm": 5}, "up/n": {}}
    stored = model_limits(given, "limits")
    assert stored == {"kaixu/a/B": {"rpm": 10, "tpm": 0, "day_cap_nusd": 1_000_000_000}, "up/m": {"tpm": 5}}
    assert shown_model_limits(stored) == {
        "kaixu/a/B": {"rpm": 10, "tpm": 0, "day_cap_cents": 100},
        "up/m": {"tpm": 5},
    }


@pytest.mark.parametrize("given", [None, "", "  ", {}, "{}", {"up/m": {}}, {"up/m": None}, {"up/m": {"rpm": None}}])
def test_no_limits_are_none(given: object) -> None:
    assert model_limits(given, "limits") is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[1", "is not JSON"),
        ([], "must be an object"),
        ("7", "must be an object"),
        ({"chat": {"rpm": 1}}, "is not a model's name"),
        ({"/m": {"rpm": 1}}, "is not a model's name"),
        ({"up/": {"rpm": 1}}, "is not a model's name"),
        ({"up / m": {"rpm": 1}}, "is not a model's name"),
        ({"": {"rpm": 1}}, "is not a model's name"),
        ({"up/m": 5}, "must be an object"),
        ({"up/m": {"rpd": 5}}, "there is no limit `rpd`; did you mean `rpm`?"),
        ({"up/m": {"rpm": -1}}, "`limits.rpm` must lie between"),
        ({"up/m": {"tpm": 10**10}}, "`limits.tpm` must lie between"),
        ({"up/m": {"day_cap_cents": 1.5}}, "`limits.day_cap_cents` must be a whole number"),
        ({"up/m": {"rpm": True}}, "must be a whole number"),
        ({"up/m": {"rpm": 1}, "UP/m": {"rpm": 2}}, "names `up/m` twice"),
        ({f"up/{at}": {"rpm": 1} for at in range(101)}, "names more than 100 models"),
        ({"up/" + "m" * 200: {"rpm": 1}}, "is longer than 200"),
        ({"up/m\n": {"rpm": 1}, "up/\x00": {}}, "cannot be shown"),
    ],
)
def test_what_is_wrong_is_named(given: object, message: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        model_limits(given, "limits")
    assert message in refused.value.message
