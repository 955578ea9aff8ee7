"""An operation's own limits, and what its handler learns about the key that calls it."""

from __future__ import annotations

from typing import Literal

from kaixu.plugin.access import Caller
from kaixu.plugin.errors import RateLimited
from kaixu.plugin.operation import Operation
from kaixu.store import operation_limits as store

from .gate import Gate
from .operation_ticket import OperationTicket

TRY_AGAIN = "Try again in {} s."


async def take_limits(gate: Gate, what: Operation, customer_id: int, ticket: OperationTicket | None = None) -> None:
    """Count one call of `what` in its rates and among the calls at once. Raises `RateLimited`, `DatabaseAway`.

    All of them hold, or nothing is counted: one statement decides.
    """
    rates = what.rates
    if not rates and what.at_once is None:
        return
    chain_id = 0 if ticket is None else ticket.verdict.chain_id or 0
    decision = await store.take_operation_limits(
        gate.ledger.pool,
        customer_id=customer_id,
        operation=what.name,
        ticket=None if ticket is None else ticket.id,
        at_once=None if ticket is None else what.at_once,
        most=[int(rate.most) for rate in rates],
        per_s=[int(rate.per_s) for rate in rates],
        chain_ids=[chain_id if rate.by == "key" else 0 for rate in rates],
    )
    if decision.refused is None:
        return
    hint = TRY_AGAIN.format(decision.retry_after_s)
    if decision.refused == "TOO_MANY_AT_ONCE":
        raise RateLimited(
            f"{what.at_once} calls of `{what.name}` are running, as many as are allowed at the same time",
            hint="Try again when one of them has ended.",
            retry_after_s=decision.retry_after_s,
            code="TOO_MANY_AT_ONCE",
        )
    rate = rates[(decision.bound or 1) - 1]
    raise RateLimited(
        f"rate limit reached: {rate.most} calls of `{what.name}` in {rate.per_s:g} s for each {rate.by}",
        hint=hint,
        retry_after_s=decision.retry_after_s,
    )


async def caller_of(gate: Gate, ticket: OperationTicket, *, has_session: bool) -> Caller:
    """Who makes an admitted call. Raises `DatabaseAway`."""
    assert ticket.verdict.key_id is not None
    owner = await store.key_owner(gate.ledger.pool, ticket.verdict.key_id)
    kind: Literal["key", "session"] = "session" if has_session else "key"
    if owner is None:  # removed in this moment
        return Caller(kind, key_last4=ticket.verdict.key_last4)
    return Caller(kind, owner.role, owner.key_last4, owner.email)
