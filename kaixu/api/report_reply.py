"""Replies with a report: JSON, CSV or an HTML table, as `format` asks for."""

from __future__ import annotations

from typing import Any

from kaixu.edge.fields import Fields
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.table import FORMATS, Format, Table, encoded

#: An HTML report loads nothing and runs nothing.
PAGE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def read_format(query: Fields) -> Format:
    """The format that is asked for; JSON by default. Raises `Unprocessable`."""
    name = query.text("format", most=20)
    if not name:
        return "json"
    for form in FORMATS:
        if name == form:
            return form
    raise Unprocessable(f"`format` must be one of {', '.join(FORMATS)}", field="format")


def report_reply(request: IncomingRequest, table: Table[Any]) -> Reply:
    """A report in the format that the request asks for. A next page is also named in `x-kaixu-next-cursor`."""
    form = read_format(Fields(request.args))
    content_type, body = encoded(table, form)
    headers = {"content-type": content_type, "cache-control": "no-store"}
    if form == "csv":
        headers["content-disposition"] = f'attachment; filename="kaixu-{table.report.name}.csv"'
    if form == "html":
        headers["content-security-policy"] = PAGE_POLICY
    if table.next_cursor is not None:
        headers["x-kaixu-next-cursor"] = table.next_cursor
    return Reply(200, headers, body)
