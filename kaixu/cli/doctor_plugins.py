"""The part of `kaixu doctor` that looks at integrations with tables: whether each can have its own database role."""

from __future__ import annotations

from pathlib import Path

from kaixu.catalog.catalog import IntegrationState
from kaixu.store.plugin_login import given_login
from kaixu.store.plugin_roles import what_is_wrong, what_is_wrong_with_login
from kaixu.store.query import Connection

from .check import catalog_at
from .gateway_rows import Row, row


def with_tables(config: Path) -> list[IntegrationState]:
    """The integrations that are on and declare tables."""
    catalog = catalog_at(config, [])
    found = [] if catalog is None else catalog.integrations.values()
    return [one for one in found if one.state == "on" and one.schema is not None]


async def plugin_rows(connection: Connection, config: Path, *, pooler: bool) -> list[Row]:
    """One row for each; what is wrong names the statements to run."""
    rows = []
    for one in with_tables(config):
        url = one.section.database_url
        if url is None:
            told, wrong = "a role that the gateway makes", await what_is_wrong(connection, one.name)
        else:
            login = given_login(one.name, url.get_secret_value())
            told = "the role of its `database_url`"
            wrong = await what_is_wrong_with_login(connection, login, pooler=pooler)
        rows.append(row(f"integration {one.name}", wrong is None, wrong or told))
    return rows
