"""The database roles of integrations that have tables, and what is wrong with them."""

from __future__ import annotations

import asyncpg
import msgspec

from kaixu.catalog.catalog import Catalog
from kaixu.store.plugin_login import login_from_url
from kaixu.store.plugin_roles import login_problem, role_problem


class PluginRole(msgspec.Struct, frozen=True):
    """The role of one integration: made by the gateway or by the operator. `problem`: with the statements to run."""

    integration: str
    is_operators: bool
    problem: str | None


async def plugin_roles(pool: asyncpg.Pool, catalog: Catalog, *, pooler: bool) -> list[PluginRole]:
    """One for each integration that is on and declares tables."""
    roles = []
    async with pool.acquire() as connection:
        for one in catalog.integrations.values():
            if one.state != "on" or one.schema is None:
                continue
            url = one.section.database_url
            if url is None:
                problem = await role_problem(connection, one.name)
            else:
                login = login_from_url(one.name, url.get_secret_value())
                problem = await login_problem(connection, login, pooler=pooler)
            roles.append(PluginRole(one.name, url is not None, problem))
    return roles
