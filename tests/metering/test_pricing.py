"""Money by property: exact, whole, rounded once."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from kaixu.config.price import Price
from kaixu.metering.pricing import cost_nusd, most_nusd, output_tokens_for
from kaixu.plugin.types import Usage

RATES = st.integers(0, 10**14)
PRICES = st.builds(Price, input=RATES, output=RATES, cached_input=RATES, cache_write=RATES, reasoning=RATES)
TOKENS = st.integers(0, 10**7)


@given(PRICES, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS)
def test_a_cost_is_exact_and_rounded_once(
    price: Price, plain: int, cached: int, write: int, spoken: int, thought: int
) -> None:
    usage = Usage(plain + cached + write, spoken + thought, cached, write, thought)
    exact = Fraction(
        plain * price.input
        + cached * price.cached_input
        + write * price.cache_write
        + spoken * price.output
        + thought * price.reasoning,
        10**6,
    )
    rounded = (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(Decimal(1), ROUND_HALF_UP)
    assert abs(Fraction(cost_nusd(usage, price)) - exact) <= Fraction(1, 2)
    if exact.denominator == 1:
        assert cost_nusd(usage, price) == exact
    if exact < 10**20:
        assert cost_nusd(usage, price) == int(rounded)


@given(PRICES, TOKENS, TOKENS, st.data())
def test_no_split_into_kinds_costs_more_than_the_most(
    price: Price, inputs: int, outputs: int, data: st.DataObject
) -> None:
    cached = data.draw(st.integers(0, inputs))
    write = data.draw(st.integers(0, inputs - cached))
    thought = data.draw(st.integers(0, outputs))
    assert cost_nusd(Usage(inputs, outputs, cached, write, thought), price) <= most_nusd(inputs, outputs, price)


@given(PRICES, TOKENS, st.integers(0, 10**18))
def test_what_a_grant_buys_never_costs_more_than_the_grant(price: Price, inputs: int, granted: int) -> None:
    bought = output_tokens_for(granted, inputs, price)
    if bought:
        assert most_nusd(inputs, bought, price) <= granted


def test_a_small_call_is_not_free() -> None:
    price = Price(196_500_000, 786_000_000, 98_250_000, 196_500_000, 786_000_000)
    assert cost_nusd(Usage(1, 0), price) == 197  # 196.5, half up
    assert cost_nusd(Usage(14, 7), price) == 8253
    assert cost_nusd(Usage(14, 7, cached_input_tokens=14), price) == 6878  # 6877.5
