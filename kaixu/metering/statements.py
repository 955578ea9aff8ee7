"""What books show of a month: the statements of integrations, called so that a bug in one hides nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kaixu.catalog.catalog import Catalog
from kaixu.plugin.book import Book, BookMonth

log = logging.getLogger(__name__)

MOST_BYTES = 16 * 1024

#: Makes the statement of a month; None where it cannot be made.
StateMonth = Callable[[BookMonth], dict[str, Any] | None]


def statements_of(catalog: Catalog) -> Mapping[str, StateMonth]:
    """The statements of all integrations that are on, by book."""
    return {
        book.name: stating(book)
        for state in catalog.integrations.values()
        if state.state == "on" and state.integration is not None
        for book in state.integration.books
        if book.statement is not None
    }


def stating(book: Book) -> StateMonth:
    """A function that never fails, and returns values of JSON only."""

    def state(month: BookMonth) -> dict[str, Any] | None:
        assert book.statement is not None
        try:
            data = msgspec.json.encode(book.statement(month))
            if len(data) > MOST_BYTES:
                raise ValueError(f"it is longer than {MOST_BYTES >> 10} KiB")
            return msgspec.json.decode(data, type=dict[str, Any])
        except Exception:  # an invoice is issued whatever a plugin does
            log.exception("`statement` of book %s failed", book.name)
            return None

    return state
