"""What an integration stores of its call's customer: secrets and settings. Nothing here works after the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import asyncpg
import msgspec

from kaixu.ops.sealing import about_secret
from kaixu.plugin.book import BookMonth
from kaixu.plugin.customer_settings import read_settings
from kaixu.plugin.errors import TicketClosed
from kaixu.plugin.secret import SecretInfo, SecretValue, require_meta, require_value
from kaixu.store import integration_settings
from kaixu.store.books import book_month
from kaixu.store.customer_effects import declared_secret, opened_secret
from kaixu.store.integration_secrets import (
    SecretName,
    clear_secret,
    put_secret,
    secrets_of_customer,
)
from kaixu.store.pool import database
from kaixu.store.rights import Reach
from kaixu.store.settings_changes import change_settings

from .wire import TicketWire


class CustomerData:
    """The secrets and settings that one call may use: those of its integration, of its own customer."""

    def __init__(
        self,
        reach: Reach,
        customer_id: int | None,
        *,
        pool: Callable[[], asyncpg.Pool],
        wire: TicketWire,
        request_id: str,
    ) -> None:
        self.integration = reach.integration
        self.actor = reach.actor
        self._reach = reach
        self._customer_id = customer_id
        self._pool = pool
        self._wire = wire
        self._request_id = request_id

    def require_open(self) -> None:
        """Raises `TicketClosed`."""
        if self._wire.closed:
            raise TicketClosed("the call has been settled; nothing of its customer can be read or changed any more")

    def require_customer(self) -> int:
        """The call's customer. Raises `TicketClosed`, and `ValueError` where it has none."""
        self.require_open()
        if self._customer_id is None:
            raise ValueError("this call has no customer")
        return self._customer_id

    def secret(self, name: str) -> SecretName:
        """A declared secret of the call's customer. Raises `TicketClosed`, `ValueError`."""
        return declared_secret(self.integration, name, self.require_customer())

    # The methods of `kaixu.plugin.Secrets`.

    async def get(self, name: str) -> str | None:
        """See `Secrets.get`."""
        found = await self.read(name)
        return None if found is None else found.value

    async def read(self, name: str) -> SecretValue | None:
        """See `Secrets.read`."""
        found = await opened_secret(self._pool(), self._reach, self.secret(name))
        self.require_open()
        return found

    async def put(self, name: str, value: str, *, meta: Mapping[str, Any] | None = None) -> None:
        """See `Secrets.put`."""
        secret = self.secret(name)
        if isinstance(value, str):
            self._wire.lent_secrets.add(value)
        require_value(value, name)
        shown = require_meta(meta or {}, value)
        about = about_secret(secret.integration, secret.customer_id, name)
        sealed = self._reach.sealer.seal_named(value.encode(), about)
        with database():
            async with self._pool().acquire() as connection:
                self.require_open()
                await put_secret(connection, secret, sealed, shown, actor=self.actor, request_id=self._request_id)

    async def clear(self, name: str, *, version: str | None = None) -> bool:
        """See `Secrets.clear`."""
        secret = self.secret(name)
        with database():
            async with self._pool().acquire() as connection:
                self.require_open()
                return await clear_secret(
                    connection, secret, actor=self.actor, request_id=self._request_id, version=version
                )

    async def info(self, name: str) -> SecretInfo | None:
        """See `Secrets.info`."""
        secret = self.secret(name)
        for row in await secrets_of_customer(self._pool(), secret.customer_id):
            if (row.integration, row.name) == (secret.integration, name):
                return SecretInfo(row.meta, row.set_at, row.set_by)
        return None

    # Settings.

    def require_settings(self) -> type[msgspec.Struct]:
        """The Struct of the settings. Raises `ValueError` where there is none."""
        if self.integration.customer is None:
            raise ValueError(f"integration `{self.integration.name}` declares no settings of customers")
        return self.integration.customer

    async def settings(self) -> msgspec.Struct:
        """See `Call.settings`."""
        customer_id, kind = self.require_customer(), self.require_settings()
        stored = await integration_settings.stored_settings(self._pool(), customer_id, self.integration.name)
        return read_settings(kind, stored)

    async def change_settings(self, changes: Mapping[str, Any]) -> msgspec.Struct:
        """See `Call.change_settings`."""
        customer_id = self.require_customer()
        self.require_settings()
        with database():
            async with self._pool().acquire() as connection:
                self.require_open()
                return await change_settings(
                    connection, customer_id, self.integration, changes, actor=self.actor, request_id=self._request_id
                )

    async def customer_with(self, field: str, value: str | int) -> int | None:
        """See `Call.customer_with`."""
        self.require_open()
        if field not in self.integration.unique:
            raise ValueError(f"`{field}` is not a unique setting of integration `{self.integration.name}`")
        if not value:  # these may repeat
            return None
        return await integration_settings.customer_with(self._pool(), self.integration.name, field, value)

    # Books.

    async def book(self, name: str, month: date | None) -> BookMonth:
        """See `Call.book`."""
        customer_id = self.require_customer()
        if name != "ai" and name not in {one.name for one in self.integration.books}:
            raise ValueError(f"integration `{self.integration.name}` declares no book `{name}`")
        found = await book_month(self._pool(), customer_id, name, None if month is None else month.replace(day=1))
        self.require_open()
        return found
