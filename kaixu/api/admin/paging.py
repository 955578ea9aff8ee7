"""Paging of operators' lists."""

from __future__ import annotations

from typing import NamedTuple

from kaixu.accounts.fields import MOST_ID, bounded
from kaixu.edge.fields import Fields
from kaixu.edge.request import IncomingRequest

#: The default length of a page.
PAGE = 200


class Page(NamedTuple):
    """The newest `limit` rows, or the newest that are older than `before_id`."""

    limit: int
    before_id: int | None


def read_page(request: IncomingRequest, most: int) -> Page:
    """Read the page parameters of a request. Raises `Unprocessable`."""
    query = Fields(request.args)
    limit = query.read("limit", lambda value, name: bounded(value, name, most, least=1))
    before_id = query.read("before_id", lambda value, name: bounded(value, name, MOST_ID, least=1))
    return Page(limit or PAGE, before_id)
