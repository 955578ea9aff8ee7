from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.config.price import NUSD_PER_USD, Price, cents_of_nusd, nusd_of_cents, price_of, rate_nusd, usd
from kaixu.config.sections import PriceSection

NUSD = st.integers(0, 1_000_000 * NUSD_PER_USD)


def test_price_is_whole_nano_dollars_per_million_tokens() -> None:
    section = PriceSection(input=Decimal("0.1965"), output=Decimal("0.786"), cached_input=Decimal("0.09825"))
    assert price_of(section) == Price(
        input=196_500_000,
        output=786_000_000,
        cached_input=98_250_000,
        cache_write=196_500_000,
        reasoning=786_000_000,
    )


def test_rates_that_are_not_given_are_those_of_input_and_output() -> None:
    assert price_of(PriceSection(input=Decimal(1), output=Decimal(2))) == Price(
        1_000_000_000, 2_000_000_000, 1_000_000_000, 1_000_000_000, 2_000_000_000
    )


def test_rate_of_zero_is_not_taken_for_a_missing_one() -> None:
    section = PriceSection(input=Decimal(1), output=Decimal(2), cached_input=Decimal(0), reasoning=Decimal(0))
    assert (section.price().cached_input, section.price().reasoning) == (0, 0)


@given(NUSD)
def test_any_amount_survives_being_written_and_read_again(nusd: int) -> None:
    assert rate_nusd(Decimal(usd(nusd))) == nusd


@given(st.integers(-(10**24), 10**24))
def test_dollars_are_exact_plain_and_have_two_to_nine_decimals(nusd: int) -> None:
    text = usd(nusd)
    whole, _, decimals = text.partition(".")
    assert Decimal(text) * NUSD_PER_USD == nusd
    assert 2 <= len(decimals) <= 9
    assert whole.lstrip("-").isdigit()


@pytest.mark.parametrize(
    ("nusd", "text"),
    [
        (0, "0.00"),
        (196_500, "0.0001965"),
        (1, "0.000000001"),
        (-10_000_000, "-0.01"),
        (1_500_000_000, "1.50"),
    ],
)
def test_dollars_read_as_people_write_them(nusd: int, text: str) -> None:
    assert usd(nusd) == text


@given(st.integers(-(10**12), 10**12))
def test_cents_survive_being_nano_dollars(cents: int) -> None:
    assert cents_of_nusd(nusd_of_cents(cents)) == cents


@pytest.mark.parametrize(("nusd", "cents"), [(4_999_999, 0), (5_000_000, 1), (-5_000_000, 0), (-5_000_001, -1)])
def test_cents_are_rounded_half_up(nusd: int, cents: int) -> None:
    assert cents_of_nusd(nusd) == cents


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-0.1", "0 or more"),
        ("NaN", "0 or more"),
        ("Infinity", "0 or more"),
        ("1000000.000000001", "at most 1000000"),
        ("1e999999", "at most 1000000"),
        ("0.0000000001", "at most 9 decimals"),
        ("1e-999999", "at most 9 decimals"),
        # Decimal's own multiplication rounds these to 28 digits and finds nothing wrong.
        ("0.1234567890000000000000000000001", "at most 9 decimals"),
        ("1." + "0" * 39 + "1", "at most 9 decimals"),
    ],
)
def test_price_that_cannot_be_charged_exactly_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        rate_nusd(Decimal(text))


@pytest.mark.parametrize("text", ["0e999999", "-0", "0.000000000000", "1e6", "0.000000001000"])
def test_price_that_only_looks_odd_is_taken(text: str) -> None:
    assert rate_nusd(Decimal(text)) == int(Decimal(text) * NUSD_PER_USD)
