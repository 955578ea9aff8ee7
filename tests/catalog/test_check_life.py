"""Reactions, grants and what else an integration declares of its life: a mistake switches it off with one sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kaixu.catalog.check_integration import check_integration
from kaixu.catalog.reactions import stored_reactions
from kaixu.plugin import Free, Integration, Job, Reaction
from kaixu.plugin.errors import PluginError


class Settings(msgspec.Struct):
    low_cents: int | None = None
    limit_cents: int = 500
    word_cents: str = ""
    low: int | None = None
    on: bool = False
    always: bool = True


class Nothing(msgspec.Struct):
    pass


async def do(call: Any) -> None:
    return None


def plain(call: Any) -> None:
    return None


async def close() -> None:
    return None


def below(**more: Any) -> Reaction:
    return Reaction("balance_below", do, "a test", **more)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"reactions": [Reaction("tuesday", do, "x")]}, "there is no event 'tuesday'"),  # type: ignore[arg-type]
        ({"reactions": ["x"]}, "`reactions[0]` must be of the type Reaction"),
        ({"reactions": 7}, "`reactions` must be a list"),
        ({"reactions": [Reaction("cap_warned", plain, "x")]}, "must be an `async def`"),  # type: ignore[arg-type]
        ({"reactions": [Reaction("cap_warned", do, " ")]}, "`why_free` must say why"),
        ({"reactions": [Reaction("cap_warned", do, "x", attempts=0)]}, "tried 1 to 100 times"),
        ({"reactions": [Reaction("cap_warned", do, "x", timeout_s=0)]}, "up to 3600 s"),
        ({"reactions": [Reaction("cap_warned", do, "x", threshold="low_cents")]}, "only `balance_below`"),
        ({"reactions": [Reaction("cap_warned", do, "x")] * 2}, "registered twice"),
        ({"reactions": [below()]}, "`threshold` must name a setting"),
        ({"reactions": [below(threshold="low")]}, "must end in _cents or _nusd"),
        ({"reactions": [below(threshold="none_cents")]}, "`none_cents` is not a setting"),
        ({"reactions": [below(threshold="word_cents")]}, "must be a whole number or None"),
        ({"reactions": [below(threshold="limit_cents")]}, "every customer would be watched"),
        ({"reactions": [below(threshold="limit_cents", enabled="always")]}, "must be False"),
        (
            {"reactions": [Reaction("cap_warned", do, "x")], "jobs": [Job("shop.reactions.x", do, Nothing, Free("x"))]},  # type: ignore[arg-type]
            "cannot be named like a reaction",
        ),
        ({"grants": {"everything"}}, "there is no grant 'everything'"),
        ({"grants": "credit"}, "`grants` must be a set"),
        ({"keeps": ["no table; drop"], "schema": "schema"}, "`keeps` names tables"),
        ({"keeps": ["payment"]}, "the integration has none"),
        ({"open": plain}, "must be an `async def`"),
        ({"close": plain}, "`close` must be an `async def`"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_one_sentence(declared: dict[str, Any], expected: str) -> None:
    with pytest.raises(PluginError) as raised:
        check_integration(Integration("shop", [], customer=Settings, **declared))
    assert expected in str(raised.value)


def test_what_is_right_is_taken_and_stored() -> None:
    shop = Integration(
        "shop",
        [],
        customer=Settings,
        grants={"credit", "customers", "mail"},
        schema="schema",
        keeps=["payment"],
        open=do,
        close=close,
        reactions=[below(threshold="limit_cents", enabled="on"), Reaction("cap_reached", do, "x", attempts=3)],
    )
    check_integration(shop)
    assert stored_reactions([shop]) == [
        {
            "integration": "shop", "event": "balance_below", "kind": "shop.reactions.balance_below", "most_attempts": 10,
            "threshold": "limit_cents", "threshold_unit_nusd": 10**7, "threshold_default": 500, "enabled": "on",
        },
        {
            "integration": "shop", "event": "cap_reached", "kind": "shop.reactions.cap_reached", "most_attempts": 3,
            "threshold": None, "threshold_unit_nusd": None, "threshold_default": None, "enabled": None,
        },
    ]  # fmt: skip
