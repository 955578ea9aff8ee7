"""The logins, tables and connections that integrations have in the database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import asyncpg

from .charge_effects import NOBODY, Charging
from .jobs_only import jobs_transaction
from .plugin_database import plugin_transaction
from .plugin_deletion import remove_rows
from .plugin_login import PluginLogin, derived_login, login_from_url
from .plugin_pool import MOST, PluginPool
from .plugin_reading import PluginReading, plugin_reading
from .plugin_roles import migrate_plugin, provide_role
from .plugin_transaction import MakeEvent, MakeJob, Transaction, no_webhooks
from .pool import database
from .query import DatabaseSession
from .rights import Rights


class PluginDatabases:
    """Opens transactions for integrations. `dsn`: the gateway's database.

    Passwords are derived from `secrets`, the present one first.

    `most`: how many one integration can have open.
    """

    def __init__(self, dsn: str, secrets: Sequence[str], *, pooler: bool, most: int = MOST) -> None:
        self.most = most
        self.dsn = dsn
        self.secrets = secrets
        self.pooler = pooler
        self.pool: asyncpg.Pool
        self.logins: dict[str, PluginLogin] = {}
        self.pools: dict[PluginLogin, PluginPool] = {}

    def login_of(self, name: str, url: str | None) -> PluginLogin:
        """The login of an integration: a role that the gateway makes, or the operator's `database_url`."""
        return derived_login(name, self.dsn, *self.secrets) if url is None else login_from_url(name, url)

    async def provide(self, connection: DatabaseSession, name: str, folder: Path, url: str | None) -> None:
        """The role, the schema and the tables of an integration. Raises `MigrationError`, `DatabaseAway`."""
        login = self.login_of(name, url)
        self.logins[name] = await migrate_plugin(connection, name, folder, login, pooler=self.pooler)

    def transaction(
        self,
        name: str,
        *,
        has_tables: bool,
        is_open: Callable[[], bool],
        make_job: MakeJob,
        customer_id: int | None = None,
        make_event: MakeEvent = no_webhooks,
        blobs_of: int | None = None,
        charging: Charging = NOBODY,
        rights: Rights | None = None,
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction of integration `name`, for a call of this customer; without tables only jobs are changed.

        `blobs_of`: the customer whose blobs it uses. `rights`: what else the call may do; without them nothing.
        """
        if not has_tables:
            return jobs_transaction(
                self.pool,
                name,
                is_open=is_open,
                make_job=make_job,
                customer_id=customer_id,
                make_event=make_event,
                rights=rights,
                blobs_of=blobs_of,
                charging=charging,
            )
        return plugin_transaction(
            self.pool_of(name),
            is_open=is_open,
            make_job=make_job,
            customer_id=customer_id,
            make_event=make_event,
            rights=rights,
            blobs_of=blobs_of,
            charging=charging,
        )

    def reading(self, name: str, *, is_open: Callable[[], bool]) -> AbstractAsyncContextManager[PluginReading]:
        """A transaction of integration `name`, which has tables, that can only read."""
        return plugin_reading(self.pool_of(name), is_open=is_open)

    def pool_of(self, name: str) -> PluginPool:
        """The connections of an integration with tables."""
        login = self.logins[name]
        if login not in self.pools:
            self.pools[login] = PluginPool(
                self.pool, login, pooler=self.pooler, reset_password=lambda: self.reset_password(login), most=self.most
            )
        return self.pools[login]

    async def remove_rows(self, name: str, customer_id: int, keeps: Collection[str]) -> int:
        """Remove a deleted customer's rows from an integration's tables; how many. Raises `DatabaseAway`."""
        return await remove_rows(self.pool_of(name), name, customer_id, keeps)

    async def reset_password(self, login: PluginLogin) -> PluginLogin:
        """The login that the role accepts; its password is set again where it was changed, perhaps by the plugin."""
        with database():
            async with self.pool.acquire() as connection:
                return await provide_role(connection, login)

    async def close(self) -> None:
        """End every connection."""
        for one in self.pools.values():
            await one.close()
