"""The columns of every statement are the fields of its row type."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

import kaixu.reports
import kaixu.store
from kaixu.store.query import Query
from tests.conftest import with_database

for room in (kaixu.store, kaixu.reports):
    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{room.__name__}.{module.name}")


PACKAGE = Path(kaixu.store.__file__).parents[1]

CALL = re.compile(r"\bkaixu(?:__plugin)?\.\w+\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
ARGUMENT = re.compile(r"\s*p_\w+ => ")

#: A text that is compared with a literal by their order.
TEXT_IN_ORDER = re.compile(r"(?<![-<>=])[<>]=? *'[a-z]")


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
    """A query that the other tests do not see."""
    query = Query(Pair, "select n as number, null as word from generate_series(1, $1::int) n")
    Query.registered.remove(query)
    return query


async def test_all_returns_typed_rows(pool: asyncpg.Pool, unregistered: Query[Pair]) -> None:
    assert await unregistered.all(pool, 2) == [Pair(1, None), Pair(2, None)]


async def test_one_returns_none_where_nothing_is_found(pool: asyncpg.Pool, unregistered: Query[Pair]) -> None:
    assert await unregistered.one(pool, 1) == Pair(1, None)
    assert await unregistered.one(pool, 0) is None


class Three(msgspec.Struct, frozen=True):
    """The arguments of `make_date`, in another order."""

    day: int
    year: int
    month: int


def test_arguments_are_found_by_their_names_whatever_the_order_of_the_fields() -> None:
    query = Query(Pair, "select f(p_year => $1, p_moon => $2, p_day => $3, p_else => $4)")
    Query.registered.remove(query)
    assert query.columns([Three(1, 2, 3), Three(4, 5, 6)], moon="month") == [[2, 5], [3, 6], [1, 4]]
    assert query.columns([Three(1, 2, 3)], moon="month", without=["day"])[:2] == [[2], [3]]
    with pytest.raises(TypeError, match="fields of Three are not"):
        query.columns([Three(1, 2, 3)])


def test_inserted_values_are_found_by_their_columns_whatever_the_order_of_the_fields() -> None:
    query = Query(Pair, "insert into t (month, moon, day) values ($1, now() + f(secs => $2), $3) returning 1, null")
    Query.registered.remove(query)
    assert query.values(Three(1, 2, 3), moon="year") == [3, 2, 1]
    with pytest.raises(TypeError, match="fields of Three are not"):
        query.values(Three(1, 2, 3))


def positional_calls(text: str) -> Iterator[str]:
    """The calls of our SQL functions in a text that have an argument without its name; types do not count."""
    for call in CALL.finditer(text):
        arguments = [one for one in re.split(r",(?![^()]*\))", call[1]) if one.strip()]
        if not all(ARGUMENT.match(one) for one in arguments):
            yield call[0]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sql_functions_are_called_with_named_arguments(path: Path) -> None:
    """A positional call would still run after two arguments were swapped, and would move money."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = [node.body[0].value for node in nodes if isinstance(node, described) and ast.get_docstring(node)]  # type: ignore[attr-defined]
    texts = [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings
    ]
    calls = [call for text in texts for call in positional_calls(text)]
    assert [call for call in calls if call not in SIGNATURES] == []


#: Names of functions with their types, in queries about privileges.
SIGNATURES = {"kaixu__plugin.enqueue(uuid)", "kaixu__plugin.migrated(text, text)"}


def test_the_rule_sees_positional_calls() -> None:
    named = "select kaixu.top_up(p_month => $1, p_amount_nusd => least($2, 5)) and kaixu.top_up()"
    assert list(positional_calls(named)) == []
    assert list(positional_calls("select kaixu.top_up(p_month => $1, $2)")) == ["kaixu.top_up(p_month => $1, $2)"]


@pytest.mark.parametrize("query", Query.registered, ids=lambda query: f"{query.row.__name__}: {query.sql.split()[0]}")
def test_no_text_is_found_by_its_place_in_an_order(query: Query[Any]) -> None:
    """Which text comes first depends on the database's collation: in English `customer;` comes before `customer:`."""
    assert TEXT_IN_ORDER.findall(query.sql) == []


def test_the_rule_sees_ranges_of_texts() -> None:
    assert TEXT_IN_ORDER.search("where d.destination >= 'customer:'")
    assert not TEXT_IN_ORDER.search("where e.book <> 'import' and d ->> 'a' = 'b' and t > now() - interval '1 day'")
