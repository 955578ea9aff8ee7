"""What operators see of the outbox of mails, and trying one again."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from kaixu.plugin.errors import Conflict, Unprocessable
from kaixu.store import mail as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.mail import ListedMail, OutboxState
from kaixu.store.pool import database

__all__ = ["STATES", "STUCK_S", "ListedMail", "OutboxState", "list_outbox", "outbox_state", "retry_mail"]

STATES = ("waiting", "sent", "failed")

#: A mail that has waited longer than this is worth a look.
STUCK_S = 900


async def list_outbox(pool: asyncpg.Pool, *, state: str | None, recipient: str | None, limit: int) -> list[ListedMail]:
    """Mails, newest first, without their content. Raises `Unprocessable` for an unknown state."""
    if state not in (None, *STATES):
        raise Unprocessable(f"`state` must be one of {', '.join(STATES)}", field="state")
    with database():
        return await store.list_mails(pool, state=state, recipient=recipient, limit=limit)


async def outbox_state(pool: asyncpg.Pool) -> OutboxState:
    """How the outbox stands. Raises `DatabaseAway`."""
    with database():
        return await store.outbox_state(pool)


async def retry_mail(pool: asyncpg.Pool, mail_id: str, *, actor: str, request_id: str) -> None:
    """Try a mail again that was given up. Raises `Unprocessable`, and `Conflict` where there is nothing to send."""
    try:
        number = UUID(mail_id)
    except ValueError:
        raise Unprocessable("`mail_id` is not the id of a mail", field="mail_id") from None
    with database():
        async with pool.acquire() as connection, connection.transaction():
            if not await store.retry_mail(connection, number):
                raise Conflict(
                    f"mail {number} cannot be tried again",
                    hint="It was sent, still waits, is of no use any more, or does not exist: see `kaixu mail list`.",
                    code="MAIL_NOT_FAILED",
                )
            await write_audit(connection, AuditEvent(actor, "MAIL_RETRY", f"mail:{number}", request_id))
