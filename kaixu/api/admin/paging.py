"""Where a list begins and how long it is."""

from __future__ import annotations

from typing import NamedTuple

from quart import request

from kaixu.accounts.fields import MOST_ID, bounded

#: What clients get that do not ask for a length.
PAGE = 200


class Page(NamedTuple):
    """The newest `limit` rows, or the newest that are older than `before_id`."""

    limit: int
    before_id: int | None


def page_of(most: int) -> Page:
    """The page that a request asks for. Raises `Unprocessable`."""
    limit = bounded(request.args.get("limit"), "limit", most, least=1)
    return Page(limit or PAGE, bounded(request.args.get("before_id"), "before_id", MOST_ID, least=1))
