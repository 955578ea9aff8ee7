"""Where the target of a change is shown: `key:7` under Keys, `operator:ada@example.com` under Operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.web.components import Link
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

from .key_actions import DETAILS as KEY
from .lane_cells import lane_href
from .operator_views import PERSON, SESSIONS, TOKENS
from .platform_page import surface_path

#: The tab of each kind of target: that of the customer who is concerned, or one of the whole gateway.
OF_CUSTOMER = {
    "customer": "billing",
    "plan": "billing",
    "invoice": "billing",
    "topup": "billing",
    "billing": "billing",
    "code": "billing",
    "code_batch": "billing",
    "key": "keys",
    "group": "keys",
    "key_request": "keys",
    "device": "devices",
    "collection": "embeddings",
}
OF_GATEWAY = {
    "operator": "operators",
    "admin": "operators",
    "monitor": "monitor",
    "secret": "lanes",
}


def target_link(visit: Visit, entry: Mapping[str, Any]) -> Link | None:
    """The link to the target of an entry of the audit log; None where it has no page."""
    kind, _, name = str(entry["target"]).partition(":")
    href = place_of(visit, kind, name, entry["customer_id"])
    return Link(str(entry["target"]).replace(":", " ", 1), href) if href else None


def place_of(visit: Visit, kind: str, name: str, customer_id: int | None) -> str:
    """The address of a target, the most special one that there is; empty where there is none."""
    special = {"session": SESSIONS, "token": TOKENS, "lane": lane_href(name), "platform": surface_path(name)}
    if kind in special:
        return special[kind]
    if kind == "operator" and name.isascii() and name.isdigit():
        return visit.url(PERSON, operator_id=name)
    if kind == "key" and customer_id is not None:
        return visit.url(KEY, customer_id=customer_id, key_id=name)
    if tab := OF_GATEWAY.get(kind):
        return TABS[tab].path
    if tab := OF_CUSTOMER.get(kind):
        return visit.url(TABS[tab].path, customer_id=name if kind == "customer" else customer_id)
    return ""
