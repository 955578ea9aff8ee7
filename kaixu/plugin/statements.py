"""The statements that an integration may run in `call.db()`."""

from __future__ import annotations

import re

#: The core's own schema, however it is written.
CORE = re.compile(r'\bkaixu\s*"?\s*\.|"kaixu"', re.IGNORECASE)

#: What would leave the plugin's role; in a plugin there is no honest use for it.
ROLES = re.compile(
    r"\b(?:re)?set\s+(?:(?:local|session)\s+)?(?:role|session\s+authorization|authorization)\b|\breset\s+all\b|\bset_config\b"
    r"|\bsecurity\s+definer\b|\bdiscard\b",
    re.IGNORECASE,
)

#: The statements that a plugin may run. Its role enforces its rights; this gives an early and clear error.
VERBS = frozenset({"select", "insert", "update", "delete", "merge", "truncate", "with", "values", "table"})
VERB = re.compile(r"[\s(]*([A-Za-z]+)\b")


def verb_of(sql: str) -> str:
    """The word that a statement begins with, in lower case; "" where it begins with anything else."""
    match = VERB.match(sql)
    return "" if match is None else match[1].lower()


def refusal_of(sql: str) -> str | None:
    """Why a plugin may not run this statement; None if it may."""
    if verb_of(sql) not in VERBS:
        return "a plugin's statement selects, inserts, updates, deletes, merges or truncates, and begins with that word"
    if ROLES.search(sql):
        return "a plugin may not change roles or settings"
    if CORE.search(sql):
        return "a plugin's statements see its own schema only"
    return None
