from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.metering.charges import MOST_UNITS, Meter, cost_nusd, most_nusd
from kaixu.plugin import Free, PerCall, PerUnit, TooLarge

prices = st.integers(0, 10**13)
units = st.integers(0, 10**6)


@given(price=prices, used=units, most=st.integers(1, 10**6), per=st.integers(1, 10**6))
def test_a_cost_is_the_exact_one_rounded_once_and_never_more_than_was_reserved(
    price: int, used: int, most: int, per: int
) -> None:
    charge = PerUnit("p", unit="u", most=most, per=per)
    used = min(used, most)
    cost = cost_nusd(charge, price, {"u": used})
    exact = Fraction(used * price, per)
    assert abs(cost - exact) <= Fraction(1, 2)
    assert 0 <= cost <= most_nusd(charge, price)


@given(price=prices, steps=st.lists(st.integers(0, 50), max_size=30))
def test_counting_in_steps_costs_what_counting_at_once_costs(price: int, steps: list[int]) -> None:
    charge = PerUnit("p", unit="u", most=10_000, per=7)
    slowly, at_once = Meter(charge, price), Meter(charge, price)
    for step in steps:
        slowly.count("u", step)
    at_once.count("u", sum(steps))
    assert slowly.cost_nusd == at_once.cost_nusd


@given(price=prices, counted=st.dictionaries(st.sampled_from(["u", "v", "calls"]), units))
def test_a_price_a_call_does_not_depend_on_what_was_counted(price: int, counted: dict[str, int]) -> None:
    assert cost_nusd(PerCall("p"), price, counted) == most_nusd(PerCall("p"), price) == price
    assert cost_nusd(Free("a test"), price, counted) == most_nusd(Free("a test"), price) == 0


@pytest.mark.parametrize(
    ("unit", "n"), [("u", -1), ("u", 1.5), ("u", True), ("u", MOST_UNITS + 1), ("no name", 1), ("", 1)]
)
def test_what_cannot_be_counted_is_refused(unit: str, n: int) -> None:
    meter = Meter(PerUnit("p", unit="u", most=10), 1)
    with pytest.raises(ValueError, match="cannot count"):
        meter.count(unit, n)
    assert meter.units == {}


@pytest.mark.parametrize("unit", ["unbilled_nusd", "undelivered", "call"])
def test_a_plugin_counts_nothing_under_a_name_that_events_use_themselves(unit: str) -> None:
    meter = Meter(PerUnit("p", unit="u", most=10), 1)
    with pytest.raises(ValueError, match="use this name themselves"):
        meter.count_for_plugin(unit, 1)
    assert meter.units == {}


def test_more_than_was_reserved_is_refused_before_it_is_counted() -> None:
    meter = Meter(PerUnit("p", unit="u", most=10), 1)
    meter.count("u", 10)
    with pytest.raises(TooLarge):
        meter.count("u", 1)
    assert meter.units == {"u": 10}
