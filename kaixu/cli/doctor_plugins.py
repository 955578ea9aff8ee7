"""The part of `kaixu doctor` that looks at integrations with tables: whether each can have its own database role."""

from __future__ import annotations

from pathlib import Path

from kaixu.catalog.catalog import IntegrationState
from kaixu.store.plugin_roles import what_is_wrong
from kaixu.store.query import Connection

from .check import catalog_at
from .gateway_rows import Row, row


def with_tables(config: Path) -> list[IntegrationState]:
    """The integrations that are on and declare tables."""
    catalog = catalog_at(config, [])
    found = [] if catalog is None else catalog.integrations.values()
    return [one for one in found if one.state == "on" and one.schema is not None]


async def plugin_rows(connection: Connection, config: Path) -> list[Row]:
    """One row for each; what is wrong names the statements to run."""
    rows = []
    for one in with_tables(config):
        url = one.section.database_url
        wrong = None if url is not None else await what_is_wrong(connection, one.name)
        told = "a role of its own" if url is None else "the role of its `database_url`"
        rows.append(row(f"integration {one.name}", wrong is None, wrong or told))
    return rows
