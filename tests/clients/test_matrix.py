"""The page of clients that were tried lists what the tests try, no more and no less."""

from __future__ import annotations

from .matrix import PAGE, combinations, page


def test_the_page_lists_exactly_what_the_tests_prove() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(combinations()), "run `python -m tests.clients.matrix`"
