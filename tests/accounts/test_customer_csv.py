"""What is exported is read back, whatever is in it; a file that makes no sense is refused by line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaixu.accounts.changes import read
from kaixu.accounts.customer_csv import COLUMNS, MOST_BYTES, csv_lines, read_lines
from kaixu.accounts.customers import CHANGEABLE
from kaixu.accounts.shared_fields import FIELDS
from kaixu.plugin.errors import Invalid
from kaixu.store.customers import Customer
from tests.support.size import examples

PLAIN: dict[str, Any] = {
    "email": "ada@example.com",
    "plan_name": "starter",
    "monthly_cap_nusd": 20 * 10**9,
    "is_active": True,
    "max_devices_per_key": None,
    "require_install_id": False,
    "allowed_providers": None,
    "allowed_models": None,
    "max_vectors": None,
    "end_user_cap_nusd": None,
    "tpm_limit": None,
    "day_cap_nusd": None,
    "alert_thresholds": None,
    "alert_mail": None,
    "id": 1,
    "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    "from_plan": [],
    "plan_version_id": None,
    "price_factor_millionths": 1_000_000,
}

NAMES = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True).filter(lambda text: text.lower() != "none")
LISTED = NAMES.filter(lambda text: "," not in text).map(str.lower)
CENTS = st.integers(0, 10**9).map(lambda cents: cents * 10**7)
CUSTOMERS = st.fixed_dictionaries(
    {
        "email": st.from_regex(r"[=+'a-z-][a-z.=+'-]{0,9}@[a-z]{1,9}\.example", fullmatch=True),
        "plan_name": NAMES,
        "monthly_cap_nusd": CENTS,
        "is_active": st.booleans(),
        "max_devices_per_key": st.none() | st.integers(0, 100_000),
        "require_install_id": st.booleans(),
        "allowed_providers": st.none() | st.lists(LISTED, min_size=1, max_size=3, unique=True),
        "allowed_models": st.none() | st.dictionaries(LISTED, st.lists(LISTED, max_size=3, unique=True), max_size=3),
        "max_vectors": st.none() | st.integers(0, 10**12),
        "end_user_cap_nusd": st.none() | CENTS,
        "tpm_limit": st.none() | st.integers(0, 10**9),
        "day_cap_nusd": st.none() | CENTS,
        "alert_thresholds": st.none() | st.lists(st.integers(1, 100), max_size=4, unique=True).map(sorted),
        "alert_mail": st.none() | st.booleans(),
    }
)
SHARED = st.fixed_dictionaries(
    {
        "stripe_customer_id": st.none() | NAMES,
        "auto_topup_enabled": st.booleans(),
        "auto_topup_threshold_cents": st.none() | st.integers(0, 10**9),
        "auto_topup_amount_cents": st.none() | st.integers(0, 10**9),
    }
)


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(CUSTOMERS, SHARED), max_size=4))
def test_what_is_exported_is_read_back(given: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    rows, shared = [row for row, _ in given], {at: values for at, (_, values) in enumerate(given)}
    text = csv_lines([Customer(**PLAIN | row | {"id": at}) for at, row in enumerate(rows)], shared)
    lines = list(read_lines(text.encode()))
    assert [line.problem for line in lines] == [None] * len(rows)
    for line, row in zip(lines, rows, strict=True):
        values = read(CHANGEABLE, line.given)
        assert values == {name: value for name, value in row.items() if value is not None}
    for line, of_row in zip(lines, shared.values(), strict=True):
        read_back = {name: field.read(line.given[name], name) for name, field in FIELDS.items() if name in line.given}
        assert read_back == {name: value for name, value in of_row.items() if value is not None}


def test_values_of_a_plan_are_not_pinned_by_an_export() -> None:
    row = Customer(**PLAIN | {"max_devices_per_key": 3, "from_plan": ["monthly_cap_nusd", "max_devices_per_key"]})
    [line] = read_lines(csv_lines([row]).encode())
    assert line.given == {
        "email": "ada@example.com",
        "plan_name": "starter",
        "monthly_cap_cents": "plan",
        "is_active": True,
        "require_install_id": False,
    }


def test_a_spreadsheet_takes_no_cell_for_a_formula() -> None:
    text = csv_lines([Customer(**PLAIN | {"email": "=1+1@example.com", "plan_name": "+cmd"})])
    assert "'=1+1@example.com" in text
    assert "'+cmd" in text


def test_excel_s_semicolons_bom_and_blank_lines_are_read() -> None:
    content = "\ufeffEmail;Monthly_cap_cents\r\nada@example.com;500\r\n\r\n;\r\n".encode()
    [line] = read_lines(content)
    assert (line.number, line.given) == (2, {"email": "ada@example.com", "monthly_cap_cents": "500"})


def test_a_line_with_another_number_of_cells_is_that_line_s_problem() -> None:
    good, bad = read_lines(b"email,plan_name\nada@example.com,pro\nbob@example.com\n")
    assert (good.problem, bad.problem) == (None, "it has 1 cells, the first line 2")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no column `email`"),
        (b"plan_name\npro\n", "no column `email`"),
        (b"email,plan\na@example.com,pro\n", "no field `plan`"),
        (b"email,email\n", "twice"),
        (b"email\n\xff\n", "not UTF-8"),
        (b'email\n"ada@example.com\n', "not CSV"),
        (b"email\n" + b"x" * MOST_BYTES, "larger than"),
        (b"email\n\x00@example.com\n" + b"y" * 300_000, "not CSV"),
    ],
    ids=["empty", "no email", "unknown", "twice", "latin", "quote", "large", "long cell"],
)
def test_a_file_that_makes_no_sense_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        list(read_lines(content))


def test_every_field_is_a_column_and_is_exported_here() -> None:
    assert set(COLUMNS) == {*CHANGEABLE, *FIELDS}
    assert {field.column for field in CHANGEABLE.values()} <= PLAIN.keys()
