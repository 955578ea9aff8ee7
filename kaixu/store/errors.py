"""Constraint → error, in one table: the message names what the client did, never Postgres' own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from kaixu.plugin.errors import Conflict, KaixuError, NotFound

OF_CONSTRAINT: dict[str, tuple[type[KaixuError], str, str | None]] = {
    "customer_email_key": (Conflict, "a customer with this email exists", "Change that customer instead."),
    "virtual_key_customer_id_fkey": (NotFound, "there is no such customer", None),
    "collection_name_key": (Conflict, "a collection with this name exists", "Choose another name, or delete that one."),
    "key_group_name_key": (Conflict, "the customer has a group with this name", "Choose another name."),
    "topup_customer_id_fkey": (NotFound, "there is no such customer", None),
    "operator_email_key": (Conflict, "an operator with this email exists", "Change that operator instead."),
    "operator_token_name_key": (
        Conflict,
        "a token with this name exists",
        "Revoke that one first, or choose another name.",
    ),
}


@contextmanager
def constraints() -> Iterator[None]:
    """Turn a broken constraint of the table above into its error; any other is a bug and passes."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        known = OF_CONSTRAINT.get(error.constraint_name or "")
        if known is None:
            raise
        kind, message, hint = known
        raise kind(message, hint=hint) from None
