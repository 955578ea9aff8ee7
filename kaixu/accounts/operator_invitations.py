"""Invitations of operators: an owner hands over a link, and whoever opens it chooses the password, once."""

from __future__ import annotations

import hashlib
import re
import secrets

import asyncpg

from kaixu.plugin.errors import NotFound
from kaixu.store import operator_invitations as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.operators import Operator
from kaixu.store.pool import database
from kaixu.store.query import Connection

HOURS = 72
SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")

#: The page of a link.
PAGE = "admin-invitation"


def token_hash(token: str) -> bytes:
    """What is stored of a link's token, which has 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def invitation_link(token: str, gateway_url: str | None) -> str:
    """The link to hand over; without GATEWAY_URL its path, which belongs behind the gateway's address."""
    return f"{gateway_url or ''}/api/{PAGE}?token={token}"


async def add_invitation(connection: Connection, operator: Operator, *, actor: str, request_id: str) -> str:
    """Make a new link for an operator, and return its token, which is stored nowhere. In a transaction.

    The link before is worth nothing.
    """
    token = secrets.token_urlsafe(32)
    await store.invite(connection, operator.id, token_hash(token), hours=HOURS)
    meta = {"hours": HOURS}
    await write_audit(
        connection, AuditEvent(actor, "OPERATOR_INVITE", f"operator:{operator.email}", request_id, meta=meta)
    )
    return token


async def find_invitation(pool: asyncpg.Pool, token: str) -> Operator:
    """Who was invited. Raises `NotFound` for a link that was used, replaced, or is over."""
    found = None
    if SHAPE.fullmatch(token):
        with database():
            found = await store.invited_operator(pool, token_hash(token))
    if found is None:
        raise no_invitation()
    return found


def no_invitation() -> NotFound:
    """The error for a link that cannot be used."""
    return NotFound("this invitation was used already, or has expired", hint="Ask an owner for a new one.")
