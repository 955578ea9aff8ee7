"""Customers from a CSV file: created or changed by their addresses, line by line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Literal

import asyncpg
import msgspec

from kaixu.plugin.errors import Conflict, KaixuError, Unavailable, Unprocessable
from kaixu.plugin.operation import Integration
from kaixu.store import customers as store
from kaixu.store import keys as store_keys
from kaixu.store.customers import Customer
from kaixu.store.pool import database

from . import fields
from .customer_csv import Line
from .key_material import new_key
from .keys import create_key
from .shared_fields import change_with_shared, create_with_shared

Outcome = Literal["created", "changed", "unchanged", "refused"]

#: Called with the address, the customer's id and a new key, before the key exists: writes it where it is not lost.
KeepKey = Callable[[str, int, str], None]

KEY = {"label": "master", "role": "owner"}


class Imported(msgspec.Struct, frozen=True):
    """What became of a line. `why`: of a refused one. `has_key`: a key was issued."""

    line: int
    email: str | None
    outcome: Outcome
    customer_id: int | None = None
    why: str | None = None
    has_key: bool = False


class Importer:
    """Imports lines, each in a transaction of its own. With `dry_run` each is undone, and no key is issued.

    `keep_key`: issue a key for customers that have none, and hand it to this function first: a process that dies
    between has written a key that does not work, never lost one that does. `integrations`: those that are on.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        default_cap_nusd: int,
        pepper: str,
        actor: str,
        request_id: str,
        dry_run: bool,
        keep_key: KeepKey | None = None,
        integrations: Sequence[Integration] = (),
    ) -> None:
        self.pool = pool
        self.integrations = integrations
        self.default_cap_nusd = default_cap_nusd
        self.pepper = pepper
        self.actor = actor
        self.request_id = request_id
        self.dry_run = dry_run
        self.keep_key = keep_key
        self.lines: dict[str, int] = {}  # where each address was

    async def run(self, lines: Iterable[Line]) -> AsyncIterator[Imported]:
        """The outcome of each line. Raises `DatabaseAway`: what was imported until then stays; import it again."""
        for line in lines:
            yield await self.imported(line)

    async def imported(self, line: Line) -> Imported:
        """Import one line."""
        email: str | None = None
        try:
            if line.problem is not None:
                raise Unprocessable(line.problem)
            email = fields.email(line.given.get("email"), "email")
            if email is None:
                raise Unprocessable("`email` is missing", field="email")
            if (first := self.lines.setdefault(email, line.number)) != line.number:
                raise Conflict(f"line {first} has the same address")
            outcome, customer = await self.applied(email, line)
        except Unavailable:
            raise
        except KaixuError as error:
            return Imported(line.number, email, "refused", why=error.message)
        has_key = await self.issue_key(customer) if self.keep_key is not None and not self.dry_run else False
        return Imported(line.number, email, outcome, None if self.dry_run else customer.id, has_key=has_key)

    async def applied(self, email: str, line: Line) -> tuple[Outcome, Customer]:
        """Create or change the customer of a line."""
        by = {"actor": self.actor, "request_id": self.request_id}
        with database():
            async with self.pool.acquire() as connection:
                transaction = connection.transaction()
                await transaction.start()
                try:
                    before = await store.customer_of_email(connection, email)
                    outcome: Outcome
                    if before is None:
                        after = await create_with_shared(
                            connection,
                            line.given,
                            integrations=self.integrations,
                            default_cap_nusd=self.default_cap_nusd,
                            **by,
                        )
                        outcome = "created"
                    else:
                        after, has_changed = await change_with_shared(
                            connection, before.id, line.given, integrations=self.integrations, **by
                        )
                        outcome = "unchanged" if after == before and not has_changed else "changed"
                except BaseException:
                    await transaction.rollback()
                    raise
                await (transaction.rollback() if self.dry_run else transaction.commit())
        return outcome, after

    async def issue_key(self, customer: Customer) -> bool:
        """Issue a key to a customer that has none; whether it was."""
        assert self.keep_key is not None
        with database():
            if await store_keys.oldest_active_key(self.pool, customer.id) is not None:
                return False
        key = new_key()
        self.keep_key(customer.email, customer.id, key)
        await create_key(
            self.pool,
            customer.id,
            KEY,
            pepper=self.pepper,
            actor=self.actor,
            request_id=self.request_id,
            key=key,
        )
        return True
