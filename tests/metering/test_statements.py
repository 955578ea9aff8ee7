"""Statements of books: values of JSON, and a bug in one hides nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
import pytest

from kaixu.catalog.catalog import Catalog, IntegrationState
from kaixu.config.sections import IntegrationSection
from kaixu.metering.statements import MOST_BYTES, statements_of, stating
from kaixu.plugin.book import Book, BookLine, BookMonth, BookPrice
from kaixu.plugin.operation import Integration
from kaixu.plugin.options import Options

MONTH = BookMonth(
    "shop",
    date(2026, 11, 1),
    "default",
    None,
    10_000_000,
    0,
    0,
    [BookLine("a", 1, 1, 3_333_333), BookLine("b", 1, 1, 3_333_333), BookLine("c", 1, 1, 3_333_334)],
    {"a": BookPrice(15_000_000, 1, "calls")},
)


class Shown(msgspec.Struct):
    total_cents: int


def with_book(book: Book, state: Any = "on") -> Catalog:
    """A catalog with one integration."""
    integration = Integration("shop", [], books=[book])
    catalog = Catalog()
    catalog.integrations["shop"] = IntegrationState(
        "shop", IntegrationSection(), state, None, integration, Options(), {}, where="shop.py"
    )
    return catalog


def test_a_month_has_cents_that_add_up() -> None:
    assert MONTH.spent_cents == 1
    assert MONTH.line_cents() == {"a": 0, "b": 0, "c": 1}
    assert (MONTH.line("b").nusd, MONTH.line("other").nusd) == (3_333_333, 0)
    assert MONTH.prices["a"].cents == 2


def test_statements_are_those_of_integrations_that_are_on() -> None:
    book = Book("shop", statement=lambda month: {"total_cents": month.spent_cents})
    assert statements_of(with_book(book))["shop"](MONTH) == {"total_cents": 1}
    assert statements_of(with_book(book, "off")) == {}
    assert statements_of(with_book(Book("shop"))) == {}


def test_a_struct_is_a_statement_too() -> None:
    assert stating(Book("shop", statement=lambda month: Shown(month.spent_cents)))(MONTH) == {"total_cents": 1}  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda month: 1 / 0,
        lambda month: [1],
        lambda month: None,
        lambda month: {"a": object()},
        lambda month: {"a": "x" * MOST_BYTES},
        lambda month: {"a": float("nan"), "b": {1: object()}},
    ],
    ids=["raises", "a-list", "nothing", "no-json", "too-long", "nested"],
)
def test_what_is_no_statement_is_left_out_and_logged(
    wrong: Callable[[BookMonth], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert stating(Book("shop", statement=wrong))(MONTH) is None
    assert "`statement` of book shop failed" in caplog.text
