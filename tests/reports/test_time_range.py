"""The time of a report: days are of the reporting zone, months are UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.plugin.errors import Unprocessable
from kaixu.reports.time_range import Clock, read_range

NOW = datetime(2026, 11, 29, 10, 7, 30, tzinfo=UTC)


def times(zone: str = "UTC", **given: str) -> tuple[str, str, str]:
    """Both ends and the interval."""
    read = read_range(given, Clock(NOW, zone))
    return f"{read.since:%m-%d %H:%M}", f"{read.until:%m-%d %H:%M}", read.interval


def test_the_last_day_is_the_default() -> None:
    assert times() == ("11-28 10:00", "11-29 10:15", "quarter")


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"from": "now-24h"}, ("11-28 10:00", "11-29 10:15", "quarter")),
        ({"from": "now-7d"}, ("11-22 10:00", "11-29 11:00", "hour")),
        ({"from": "now-30d"}, ("10-29 23:00", "11-29 23:00", "day")),
        ({"from": "2026-11-28", "to": "2026-11-28"}, ("11-27 23:00", "11-28 23:00", "quarter")),
        ({"from": "2026-10-25", "to": "2026-10-25"}, ("10-24 22:00", "10-25 23:00", "quarter")),
        ({"from": "2026-11-28T00:00:00", "to": "2026-11-28T12:00:00Z"}, ("11-27 23:00", "11-28 12:00", "quarter")),
        ({"from": "2026-11-28T00:00:00 02:00", "to": "now-1h"}, ("11-27 22:00", "11-29 10:00", "hour")),
        ({"month": "2026-11"}, ("11-01 00:00", "12-01 00:00", "day")),
    ],
)
def test_days_are_of_the_zone(given_: dict[str, str], told: tuple[str, str, str]) -> None:
    assert times("Europe/Berlin", **given_) == told


def test_a_month_is_utc_and_so_not_of_whole_days_elsewhere() -> None:
    assert read_range({"month": "2026-11"}, Clock(NOW, "UTC")).is_whole_days
    assert not read_range({"month": "2026-11"}, Clock(NOW, "Asia/Kolkata")).is_whole_days


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"from": "now-2000d"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-13-01"}, "from"),
        ({"to": "1970-01-01T00:00:00Z"}, "to"),
        ({"from": "2026-11-29", "to": "2026-11-20"}, "from"),
        ({"from": "now-30d", "interval": "quarter"}, "from"),
        ({"from": "2020-01-01"}, "from"),
        ({"interval": "week"}, "interval"),
        ({"month": "2026-13"}, "month"),
        ({"from": "9" * 50}, "from"),
    ],
)
def test_what_is_no_time_is_refused(given_: dict[str, str], field: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        times(**given_)
    assert refused.value.field == field


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["UTC", "Asia/Kathmandu", "America/New_York"]))
def test_any_text_is_a_time_or_refused(since: str, until: str, zone: str) -> None:
    try:
        read = read_range({"from": since, "to": until}, Clock(NOW, zone))
    except Unprocessable:
        return
    assert read.since < read.until


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 60 * 24 * 300),
    st.sampled_from(["UTC", "Asia/Kolkata", "Europe/Berlin", "America/St_Johns"]),
)
def test_the_time_is_within_what_is_read(now: datetime, minutes: int, zone: str) -> None:
    read = read_range({"from": f"now-{minutes}m"}, Clock(now, zone))
    assert read.since <= now - timedelta(minutes=minutes)
    assert now <= read.until
