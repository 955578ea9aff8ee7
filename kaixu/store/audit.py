"""The audit log: append-only, every change of an operator with the row before and after."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.ops.change_origin import CHANGE_ORIGIN, acting

from .query import Connection


class AuditEvent(msgspec.Struct, frozen=True):
    """One change. `before` and `after` hold no key material and no secrets."""

    actor: str
    action: str
    target: str
    request_id: str | None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    meta: dict[str, Any] = {}


async def write_audit(db: Connection, event: AuditEvent) -> None:
    """Append one event, in the caller's transaction: without its event a change is not committed.

    Who made it and from where comes from the request or command that runs (`ops/change_origin.py`).
    """
    origin = CHANGE_ORIGIN.get()
    await db.execute(
        """
        insert into kaixu.audit_event (actor, action, target, request_id, before, after, meta, address, operator_id,
                                       session_id, token_id)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        """,
        acting(event.actor),
        event.action,
        event.target,
        event.request_id,
        event.before,
        event.after,
        event.meta,
        origin.shown_address,
        origin.operator_id,
        origin.session_id,
        origin.token_id,
    )


def row_of(row: msgspec.Struct) -> dict[str, Any]:
    """A row as the log keeps it."""
    plain: dict[str, Any] = msgspec.to_builtins(row)
    return plain
