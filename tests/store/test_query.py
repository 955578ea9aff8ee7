"""Every statement is what its row says, and every row is what its statement returns."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import asyncpg
import msgspec
import pytest

import kaixu.store
from kaixu.store.query import Query
from tests.conftest import with_database

for module in pkgutil.iter_modules(kaixu.store.__path__):
    importlib.import_module(f"kaixu.store.{module.name}")


class Pair(msgspec.Struct, frozen=True):
    """Two columns."""

    number: int
    word: str | None


@pytest.mark.parametrize("query", Query.registered, ids=lambda query: f"{query.row.__name__}: {query.sql.split()[0]}")
async def test_columns_are_the_fields_of_the_row(server_dsn: str, template: str, query: Query[Any]) -> None:
    connection = await asyncpg.connect(with_database(server_dsn, template))
    try:
        statement = await connection.prepare(query.sql)
        columns = [attribute.name for attribute in statement.get_attributes()]
    finally:
        await connection.close()
    assert columns == list(query.row.__struct_fields__)


def test_there_are_statements_to_prepare() -> None:
    assert len(Query.registered) > 20


@pytest.fixture
def unregistered() -> Any:
    """A query of the test's own, that the other tests do not see."""
    query = Query(Pair, "select n as number, null as word from generate_series(1, $1::int) n")
    Query.registered.remove(query)
    return query


async def test_all_returns_typed_rows(pool: asyncpg.Pool, unregistered: Query[Pair]) -> None:
    assert await unregistered.all(pool, 2) == [Pair(1, None), Pair(2, None)]


async def test_one_returns_none_where_nothing_is_found(pool: asyncpg.Pool, unregistered: Query[Pair]) -> None:
    assert await unregistered.one(pool, 1) == Pair(1, None)
    assert await unregistered.one(pool, 0) is None
