"""Mistakes in the declaration of a panel are told as one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from kaixu.catalog.check_integration import check_integration
from kaixu.plugin import Integration, Panel
from kaixu.plugin.errors import PluginError
from kaixu.plugin.panels import Choice, Filter


async def load(view: Any) -> list[Any]:
    return []


def blocking(view: Any) -> list[Any]:
    return []


async def no_view() -> list[Any]:
    return []


def two(tab: str = "Shop", title: str = "Other") -> list[Panel]:
    """A panel, and another one."""
    return [Panel("Shop", "Things", load), Panel(tab, title, load)]


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ("x", "must be a list"),
        (["x"], "must be of the type Panel"),
        ([Panel("Shop", "Things", blocking)], "must be an `async def` function"),  # type: ignore[arg-type]
        ([Panel("Shop", "Things", no_view)], "must take one argument"),  # type: ignore[arg-type]
        ([Panel("Shop", "***", load)], "with a letter or digit"),
        ([Panel("Shop", "a" * 61, load)], "up to 60 characters"),
        ([Panel("", "Things", load)], "`tab` must be a text"),
        ([Panel("Shop", "Thi\nngs", load)], "`title` must be a text"),
        ([Panel("Shop", "Things", load, "lobby")], "may be admin or dashboard"),  # type: ignore[arg-type]
        ([Panel("customers", "Things", load, "dashboard")], "no tab `customers`"),
        ([Panel("Shop", "Things", load, timeout_s=11)], "up to 10 s"),
        ([Panel("Shop", "Things", load, timeout_s=0)], "up to 10 s"),
        ([Panel("Shop", "Things", load, refresh_s=1)], "between 5 and 3600 s"),
        (two(title="things"), "another panel there has this title"),
        (two(tab="shop"), "have one address"),
        ([Panel("Shop", "Things", load)] * 51, "more than 50 panels"),
        ([Panel("S", "T", load, filters=[Filter("a.b", "A")])], "cannot be the name of a filter"),
        ([Panel("S", "T", load, filters=[Filter("a", "A"), Filter("a", "B")])], "the same name"),
        ([Panel("S", "T", load, filters=[Filter("month", "A")])], "is called `month`"),
        ([Panel("S", "T", load, filters=[Filter("a", "A", "month")])], "is called `month`"),
        ([Panel("S", "T", load, filters=[Filter("a", "A", "date")])], "no type 'date'"),  # type: ignore[arg-type]
        ([Panel("S", "T", load, filters=[Filter("a", "A", "select", ["x"])])], "of the type Choice"),  # type: ignore[list-item]
        ([Panel("S", "T", load, filters=["x"])], "must be of the type Filter"),  # type: ignore[list-item]
    ],
)
def test_a_mistake_is_told(panels: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        check_integration(Integration("shop", [], panels=panels))


def test_both_places_may_have_the_same_titles() -> None:
    chosen = Filter("state", "State", "select", [Choice("a", "A")])
    check_integration(
        Integration(
            "shop",
            [],
            panels=[
                Panel("Shop", "Things", load, filters=[chosen, Filter("month", "Month", "month")], refresh_s=5),
                Panel("Shop", "Things", load, "dashboard"),
                Panel("billing", "Money", load),
                Panel("customers", "About", load, needs_customer=True),
            ],
        )
    )
