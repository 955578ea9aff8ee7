"""Values as people read them."""

from __future__ import annotations

from datetime import datetime

import pytest

from kaixu.web.formats import ago, money, number, plain_number, utc


@pytest.mark.parametrize(
    ("usd", "digits", "is_signed", "text"),
    [
        (None, 2, False, "–"),
        ("0", 2, False, "$0.00"),
        ("0.000000000", 2, False, "$0.00"),
        ("1920.114208310", 2, False, "$1,920.11"),
        ("-1234567.8", 2, False, "−$1,234,567.80"),
        ("12.5", 2, True, "+$12.50"),
        ("0.009", 2, False, "$0.009"),
        ("0.000481", 2, False, "$0.000481"),
        ("0.0000012345", 2, False, "$0.000001"),
        ("0.0000001", 2, False, "<$0.000001"),
        ("-0.000481", 2, False, "−$0.000481"),
        ("0.003821", 6, False, "$0.003821"),
        ("1", 6, False, "$1.000000"),
        ("9" * 20 + ".123456789", 2, False, "$99,999,999,999,999,999,999.12"),
        ("no number", 2, False, "no number"),
        ("NaN", 2, False, "NaN"),
    ],
)
def test_money_has_two_digits_and_below_one_cent_up_to_six(
    usd: str | None, digits: int, is_signed: bool, text: str
) -> None:
    assert money(usd, digits, is_signed) == text


@pytest.mark.parametrize(
    ("value", "unit", "digits", "text"),
    [
        (None, "ms", 0, "–"),
        (182410, "", 0, "182,410"),
        (-5, "", 0, "−5"),
        (640, "ms", 0, "640\u00a0ms"),
        (0.314, "%", 2, "0.31\u00a0%"),
        (1234.5, "", 1, "1,234.5"),
    ],
)
def test_numbers_have_their_thousands_and_their_unit(value: float | None, unit: str, digits: int, text: str) -> None:
    assert number(value, unit, digits) == text


def test_numbers_in_attributes_are_plain() -> None:
    assert [plain_number(one) for one in (3, 0.5, 1e-7, 100.0)] == ["3", "0.5", "0", "100"]


@pytest.mark.parametrize(
    ("at", "form", "text"),
    [
        ("2026-11-28T09:41:07.123456+00:00", "moment", "2026-11-28 09:41"),
        ("2026-11-28T01:41:07+02:00", "date", "2026-11-27"),
        ("2026-11-28T09:41:07Z", "time", "09:41:07"),
        ("2026-11-28T09:41:07Z", "ago", "2026-11-28 09:41"),
        ("2026-11-28", "moment", "2026-11-28"),
        ("never", "moment", "never"),
    ],
)
def test_moments_are_shown_in_utc(at: str, form: str, text: str) -> None:
    assert utc(at, form) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [
        ("2026-11-28T09:41:07Z", "now"),
        ("2026-11-28T09:40:37Z", "30 seconds ago"),
        ("2026-11-28T09:40:07Z", "1 minute ago"),
        ("2026-11-28T08:11:07Z", "2 hours ago"),
        ("2026-11-27T09:41:07Z", "yesterday"),
        ("2026-11-29T09:41:07Z", "tomorrow"),
        ("2026-11-28T11:41:07+01:00", "in 1 hour"),
        ("2026-11-08T09:41:07Z", "20 days ago"),
        ("2026-09-08T09:41:07Z", "2026-09-08"),
        ("never", "never"),
        ("2026-11-28", "2026-11-28"),
    ],
)
def test_near_moments_are_told_by_their_distance(at: str, text: str) -> None:
    assert ago(at, datetime.fromisoformat("2026-11-28T09:41:07+00:00")) == text
