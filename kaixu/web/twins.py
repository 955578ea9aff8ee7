"""The twins of a page: the same data as JSON and CSV, and the command that fetches it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from .addresses import gateway_url
from .api_calls import QueryValue, query_text
from .components import Link
from .navigation import ADMIN
from .visits import Visit


def twins_of(visit: Visit) -> list[Link]:
    """The links of the page's CSV and JSON, with its filters."""
    base = visit.path.removesuffix(".html")
    base = f"{base}/overview" if base == ADMIN else base
    query = f"?{visit.request.query}" if visit.request.query else ""
    return [Link("CSV", f"{base}.csv{query}", download=True), Link("JSON", f"{base}.json{query}")]


def curl_of(visit: Visit, name: str, query: Mapping[str, QueryValue]) -> str:
    """The command that fetches the data of a page from the API; the token is for the reader to fill in."""
    text = query_text(query)
    url = gateway_url(visit) + f"/api/{name}" + (f"?{text}" if text else "")
    variable = "KAIXU_KEY" if visit.audience == "customer" else "KAIXU_TOKEN"
    return f'curl -s {shlex.quote(url)} -H "authorization: Bearer ${variable}"'
