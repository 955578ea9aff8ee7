"""What the pages of operators share: their addresses, the links between them, and cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import OPERATORS, SCOPES, Access
from kaixu.web.components import Badge, Cell, Link, Option, Part, Prose, Stack
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

TAB = TABS["operators"]
PEOPLE = TAB.path
PERSON = "/gateway/operators/person"
NEW = "/gateway/operators/new"
RESET = "/gateway/operators/reset"
SESSIONS = "/gateway/operators/sessions"
TOKENS = "/gateway/operators/tokens"
AUDIT = "/gateway/operators/audit"
ENTRY = "/gateway/operators/audit/entry"
ACCOUNT = "/gateway/account"

#: Tokens are for operators and owners; a viewer's would show nothing that its session does not.
MAY_TOKENS = Access("operator", "operators")

ROLE_WORDS = {
    "viewer": "sees everything, changes nothing",
    "operator": "also changes customers, keys, money and settings",
    "owner": "also manages operators, their sessions and tokens",
}

ROLE_OPTIONS = [Option(role, f"{role}: {words}") for role, words in ROLE_WORDS.items()]

#: How a session began, in words.
METHODS = {
    "admin_password": "admin password",
    "password": "password",
    "oidc": "single sign-on",
}


def views(visit: Visit) -> Part:
    """The links between the views of the tab; only those that this operator has."""
    links = [Link("People", PEOPLE)] if visit.may(OPERATORS) else []
    links.append(Link("Sessions", SESSIONS))
    if visit.may(MAY_TOKENS):
        links.append(Link("API tokens", TOKENS))
    links += [Link("Audit log", AUDIT), Link("My account", ACCOUNT)]
    return Prose(paragraphs=[], links=links)


def operator_name(one: Mapping[str, Any]) -> str:
    """Whose session or token it is."""
    return one["email"] or "admin password"


def state_of(one: Mapping[str, Any]) -> Cell:
    """Whether an operator may log in."""
    if one["disabled_at"] is not None:
        return Badge("off", "switched off")
    return Badge("good", "active")


def ways_in(one: Mapping[str, Any]) -> Cell:
    """How an operator can log in."""
    cells: list[Cell] = []
    if one["has_password"]:
        cells.append(Badge("info", "password"))
    if one["has_totp"]:
        cells.append(Badge("good", "second factor"))
    if one["has_single_sign_on"]:
        cells.append(Badge("info", "single sign-on"))
    return (
        Stack(cells) if cells else Badge("warn", "invited", hint="No password yet: the link of the invitation sets it.")
    )


def scope_options(visit: Visit) -> list[Option]:
    """The scopes that a token of this operator may have."""
    role = "" if visit.operator is None else visit.operator.role
    needs_owner = {"operators"}
    return [
        Option(name, f"{name}: {words}") for name, words in SCOPES.items() if role == "owner" or name not in needs_owner
    ]
