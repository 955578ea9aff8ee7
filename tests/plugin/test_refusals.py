"""Our error for a vendor's status, and `retry-after` in every form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.plugin import UpstreamBusy, UpstreamError, UpstreamRejected
from kaixu.plugin.refusals import MOST_WAIT_S, refusal, retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "0.2"}, 1),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "+5"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "\u00b2"}, None),
        ({"retry-after": "\u0667"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "31536000"}, MOST_WAIT_S),
        ({"retry-after": "2022-01-27 22:20:17 UTC"}, 0),
        ({"retry-after": "2022-01-27T22:20:17Z"}, 0),
        ({"retry-after": "2099-01-27 22:20:17 UTC"}, MOST_WAIT_S),
        ({"retry-after": "2022-01-27 22:20"}, None),
        ({"retry-after": "2022-13-27 22:20:17 UTC"}, None),
        ({"retry-after": "1643322017"}, 0),
        ({"retry-after": "4071000000"}, MOST_WAIT_S),
        ({"retry-after": "9" * 5000}, MOST_WAIT_S),
        ({"retry-after-ms": "1500"}, 2),
        ({"retry-after-ms": "0"}, 0),
        ({"retry-after-ms": "0.5", "retry-after": "9"}, 1),
        ({"retry-after-ms": "\u00b2", "retry-after": "9"}, 9),
        ({"retry-after-ms": "9" * 5000}, MOST_WAIT_S),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:37 GMT"}, 0),
        ({"retry-after": "Sun Nov  6 08:49:37 1994"}, 0),
        ({"retry-after": "Wed, 21 Oct 9999 07:28:00 GMT"}, MOST_WAIT_S),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 41 Oct 2015 07:28:00 GMT"}, None),
        ({}, None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: int | None) -> None:
    assert retry_after(httpx.Headers([(name.encode(), value.encode()) for name, value in headers.items()])) == seconds


@pytest.mark.parametrize(
    "form",
    ["%a, %d %b %Y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y", "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%dT%H:%M:%S.000Z"],
    ids=["fixed", "asctime", "netlify", "iso"],
)
def test_a_date_is_utc_wherever_we_are(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    monkeypatch.setattr("kaixu.plugin.refusals.time", now.timestamp)
    assert retry_after({"retry-after": (now + timedelta(seconds=90)).strftime(form)}) == 90
    assert retry_after({"retry-after": format_datetime(now + timedelta(hours=1))}) == 3600
    assert retry_after({"retry-after": str(int(now.timestamp()) + 90)}) == 90


@given(st.one_of(st.text(), st.text("0123456789:,-+.e GMTSunNov", max_size=40)))
def test_no_header_breaks_it(text: str) -> None:
    for headers in ({"retry-after": text}, {"retry-after-ms": text}):
        seconds = retry_after(headers)
        assert seconds is None or 0 <= seconds <= MOST_WAIT_S


@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize(("told", "said"), [(None, 2), (0, 0), (60, 60)])
def test_a_busy_vendor_s_own_time_is_passed_on_even_when_it_is_none_at_all(
    status: int, told: int | None, said: int
) -> None:
    error = refusal(status, told)
    assert (type(error), error.retry_after_s) == (UpstreamBusy, said)


@pytest.mark.parametrize(
    ("status", "error", "hint"),
    [
        (400, UpstreamRejected, "trying again will not help"),
        (415, UpstreamRejected, "trying again will not help"),
        (401, UpstreamError, "Tell your operator"),
        (302, UpstreamError, "Tell your operator"),
        (402, UpstreamError, "Tell your operator"),
    ],
)
def test_what_another_try_cannot_mend_says_so(status: int, error: type[UpstreamError], hint: str) -> None:
    raised = refusal(status, None)
    assert type(raised) is error
    assert hint in (raised.hint or "")


@pytest.mark.parametrize("status", [408, 409, 500, 502, 504, 599])
def test_what_may_pass_has_no_hint_that_it_does_not(status: int) -> None:
    assert refusal(status, None).hint is None
