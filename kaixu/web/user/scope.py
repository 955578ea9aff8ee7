"""Whose usage a customer's page shows: the key's own, or the whole account's for the roles admin and owner."""

from __future__ import annotations

from kaixu.web.api_calls import QueryValue
from kaixu.web.components import Field, Option
from kaixu.web.visits import Visit

ACCOUNT_ROLES = ("admin", "owner")
SCOPES = (Option("customer", "the whole account"), Option("key", "this key"))


def sees_account(visit: Visit) -> bool:
    """Whether the key's role sees the whole account."""
    return visit.key is not None and visit.key["role"] in ACCOUNT_ROLES


def scope_of(visit: Visit) -> str:
    """The scope that the page shows: the account where the role may see it and the address does not say otherwise."""
    return "customer" if sees_account(visit) and visit.query.get("scope") != "key" else "key"


def scope_query(visit: Visit) -> dict[str, QueryValue]:
    """The scope as a field of the API's query."""
    return {"scope": "customer"} if scope_of(visit) == "customer" else {}


def scope_fields(visit: Visit) -> list[Field]:
    """The field that chooses the scope; none for keys that have no choice."""
    if not sees_account(visit):
        return []
    return [Field(name="scope", label="Show", type="select", value=scope_of(visit), options=SCOPES)]
