"""What forms send: amounts and whole numbers as people type them."""

from __future__ import annotations

import pytest

from kaixu.plugin.errors import Unprocessable
from kaixu.web.form_data import FormData


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("", None),
        ("20", 2000),
        ("20.5", 2050),
        (".05", 5),
        ("20.", 2000),
        (" $1,234.56 ", 123456),
        ("1,000,000", 10**8),
    ],
)
def test_an_amount_in_dollars_is_read_to_the_cent(text: str, cents: int | None) -> None:
    assert FormData([("cap", text)]).cents("cap") == cents


@pytest.mark.parametrize("text", ["20,50", "1,00", "1.234", "1,0000", "-5", "+5", ".", "$", "1e3", "1" * 13, "٣", "a"])
def test_what_could_be_another_amount_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        FormData([("cap", text)]).cents("cap")
    assert refused.value.field == "cap"


@pytest.mark.parametrize("text", ["1.5", "1,000", "--1", "-", "9" * 19, "٣"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable):
        FormData([("days", text)]).number("days")
