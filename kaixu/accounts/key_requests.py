"""What operators do with requests for keys: list them, approve or deny those that are held."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from kaixu.ops.change_origin import acting
from kaixu.ops.sealing import sealer_of
from kaixu.plugin.errors import Conflict, Invalid, NotFound, Unavailable, Unprocessable
from kaixu.store import key_requests as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.key_requests import Approval, KeyRequest
from kaixu.store.pool import database

from .addresses import read_address
from .key_links import new_link
from .selfservice import Selfservice

__all__ = ["STATES", "Approval", "KeyRequest", "decide_request", "list_requests"]

STATES = ("held", "issued", "link", "used", "replaced", "repeated", "denied", "suspended", "unsendable")


async def list_requests(pool: asyncpg.Pool, *, state: str | None, email: str | None, limit: int) -> list[KeyRequest]:
    """Requests, newest first; `email`: those of its mailbox. Raises `Unprocessable`, `Invalid`."""
    if state not in (None, *STATES):
        raise Unprocessable(f"`state` must be one of {', '.join(STATES)}", field="state")
    mailbox = None if email is None else read_address(email, "email").mailbox
    with database():
        return await store.list_key_requests(pool, state=state, mailbox=mailbox, limit=limit)


async def decide_request(
    pool: asyncpg.Pool, rules: Selfservice, number: object, *, approve: bool, actor: str, request_id: str
) -> Approval:
    """Approve a request that is held, which mails a link, or deny it, which mails nothing.

    Raises `NotFound`, `Conflict` for one that is not held, and `Unavailable` where a link cannot be mailed.
    """
    found = request_number(number)
    if approve and not rules.can_mail:
        raise Unavailable(
            "this gateway cannot send mails",
            hint="Set `mail:` in kaixu.yaml and GATEWAY_URL, or make the customer and its key yourself.",
            code="MAIL_NOT_CONFIGURED",
        )
    sealer = sealer_of(rules.secrets)
    link = new_link(rules.settings, rules.secrets.key_pepper, sealer, valid_s=rules.section.approved_link_valid)
    with database():
        async with pool.acquire() as connection, connection.transaction():
            approval = await store.decide_key_request(
                connection, found, approve=approve, actor=acting(actor), link=link
            )
            if approval.outcome in ("approved", "denied"):
                action = "KEY_REQUEST_APPROVE" if approve else "KEY_REQUEST_DENY"
                meta = {"address": approval.address}
                await write_audit(connection, AuditEvent(actor, action, f"key_request:{found}", request_id, meta=meta))
    if approval.outcome == "unknown":
        raise NotFound(f"there is no request {found}", code="UNKNOWN_KEY_REQUEST")
    if approval.outcome == "decided":
        raise Conflict(f"request {found} is not held", hint="List those that are.", code="KEY_REQUEST_NOT_HELD")
    return approval


def request_number(value: object) -> UUID:
    """The id of a request. Raises `Invalid`, `Unprocessable`."""
    if value is None or value == "":
        raise Invalid("`id` is missing", field="id")
    try:
        return UUID(value) if isinstance(value, str) else UUID(int=-1)
    except ValueError:
        raise Unprocessable("`id` is not the id of a request", field="id") from None
