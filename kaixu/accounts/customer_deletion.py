"""Deleting a customer: anonymous at once, everything of theirs removed step by step, invoices and sums kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import msgspec

from kaixu.ops.change_origin import acting
from kaixu.plugin.errors import Conflict, Invalid, Unprocessable
from kaixu.store import customer_deletion as store
from kaixu.store import customers
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.customer_deletion import Deletion, Owned
from kaixu.store.key_requests import forget_address
from kaixu.store.pool import database
from kaixu.store.query import Connection

from . import fields
from .addresses import read_address
from .customers import no_customer

__all__ = ["Deletion", "Owned", "Preview", "delete_customer", "find_deletion", "finish_deletions", "preview_deletion"]


#: Removes the rows of a customer in the tables of integrations.
RemoveElsewhere = Callable[[int], Awaitable[None]]


class Preview(msgspec.Struct, frozen=True):
    """What the deletion of a customer would remove."""

    customer_id: int
    email: str
    owned: Owned

    @property
    def unbilled_nusd(self) -> int:
        """What was spent and is on no invoice: nobody can be billed for it after the deletion."""
        return max(0, self.owned.spent_nusd - self.owned.billed_nusd)


async def preview_deletion(pool: asyncpg.Pool, customer_id: int) -> Preview:
    """What the deletion of a customer would do. Raises `NotFound`."""
    with database():
        row = await customers.customer(pool, customer_id)
        if row is None:
            raise no_customer(customer_id)
        return Preview(customer_id, row.email, await store.owned(pool, customer_id))


async def find_deletion(pool: asyncpg.Pool, customer_id: int) -> Deletion | None:
    """The deletion of a customer, whether or not it has ended; None: there was none."""
    with database():
        return await store.deletion(pool, customer_id) if customer_id <= fields.MOST_ID else None


async def delete_customer(
    pool: asyncpg.Pool, customer_id: int, *, confirm: object, actor: str, request_id: str
) -> Deletion:
    """Delete a customer, or go on where a deletion was interrupted. `confirm`: the customer's address.

    Raises `NotFound`, `Unprocessable` for another address, and `Conflict` while calls or jobs of the customer run.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            row = await customers.locked_customer(connection, customer_id)
            if row is None:
                earlier = await store.deletion(connection, customer_id)
                if earlier is None:
                    raise no_customer(customer_id)
            else:
                if fields.email(confirm, "confirm") != row.email.lower():
                    raise Unprocessable(
                        "`confirm` must be the customer's email address: everything of theirs will be removed",
                        hint="Send dry_run=true to see what.",
                        field="confirm",
                    )
                begun = await store.begin_deletion(connection, customer_id, acting(actor))
                if begun.refused is not None:
                    raise refusal(begun.refused, begun.waiting)
                await forget_requests(connection, row.email)
                await write_audit(
                    connection,
                    AuditEvent(actor, "CUSTOMER_DELETE", f"customer:{customer_id}", request_id),
                )
    return await remove_everything(pool, customer_id)


async def forget_requests(connection: Connection, email: str) -> None:
    """Remove the requests for keys by a customer's address: later steps find only those that have brought a key."""
    try:
        address = read_address(email, "email")
    except Invalid:  # an older customer's; no request can have it
        return
    spellings = {email.lower(), *address.spellings}
    await forget_address(connection, mailbox=address.mailbox, spellings=sorted(spellings))


def refusal(code: str, waiting: int) -> Conflict:
    """The error for a customer that cannot be deleted now."""
    if code == "CALLS_IN_FLIGHT":
        return Conflict(
            f"{waiting} calls of this customer are in flight",
            hint="Disable the customer, and try again when they have ended.",
            code="CALLS_IN_FLIGHT",
        )
    return Conflict(
        f"{waiting} jobs or re-embeddings of this customer have not ended",
        hint="Disable the customer, and cancel them or wait.",
        code="JOBS_WAITING",
    )


async def remove_everything(pool: asyncpg.Pool, customer_id: int) -> Deletion:
    """Remove what belongs to a deleted customer, in small transactions; may be repeated.

    Nothing is removed as long as integrations have not reacted, for a day at most: they may need what is stored.
    """
    with database():
        async with pool.acquire() as connection:
            done = await store.deletion(connection, customer_id)
            assert done is not None
            if done.finished_at is None and await store.is_reacted_to(connection, customer_id):
                return done
            for table in store.STEPS if done.finished_at is None else store.LATE:
                while await store.take_step(connection, customer_id, table):
                    pass
            await store.forget_tries(connection, customer_id)
            async with connection.transaction():
                ended = await store.finish(connection, customer_id)
                done = await store.deletion(connection, customer_id)
                assert done is not None
                if ended:
                    await write_audit(
                        connection,
                        AuditEvent(
                            done.actor,
                            "CUSTOMER_DELETED",
                            f"customer:{customer_id}",
                            None,
                            meta={"removed": done.removed},
                        ),
                    )
    return done


async def finish_deletions(pool: asyncpg.Pool, remove_elsewhere: RemoveElsewhere | None = None) -> int:
    """Go on with interrupted deletions, and remove what came late; how many customers there were.

    `remove_elsewhere` removes the rows of a customer in the tables of integrations.
    """
    with database():
        waiting = await store.unfinished(pool)
    for one in waiting:
        done = await remove_everything(pool, one.customer_id)
        if remove_elsewhere is not None and done.finished_at is not None:
            await remove_elsewhere(one.customer_id)
    return len(waiting)
