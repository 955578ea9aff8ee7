"""A filter is refused by name, or becomes SQL with parameters only."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaixu.collections.filters import MAX_CONDITIONS, MAX_VALUES, parse_filter
from kaixu.plugin.errors import FilterTooLarge, Unprocessable
from kaixu.store.conditions import FIRST
from kaixu.store.query import Connection
from tests.support.size import examples

#: Everything that such SQL may be made of, apart from `$3::jsonb`.
PIECES = re.compile(
    r"\$\d+::(?:jsonb\[\]|jsonb|text)|[dm]\.metadata|jsonb_typeof|jsonb_build_object|unnest|coalesce|array|->|@>|>=|<="
    r"|[<>=(),]|'string'|'number'|'null'|''|'\{\}'|\|\||as metadata offset 0|\bm\b"
    r"|\b(?:and|or|not|true|false|null|any|select|from)\b|\bx\b|\s+"
)

NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, -2.5])
    | st.sampled_from(["", "1", "x", "yy"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2), max_leaves=4
)
METADATA = st.dictionaries(NAMES, VALUES, max_size=3)
COMPARED = {
    "$gt": lambda left, right: left > right,
    "$gte": lambda left, right: left >= right,
    "$lt": lambda left, right: left < right,
    "$lte": lambda left, right: left <= right,
}

OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), VALUES),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(VALUES, max_size=3)),
    st.tuples(st.sampled_from(list(COMPARED)), st.integers(-3, 3) | st.sampled_from([0.5, "", "1", "x"])),
)
CONDITIONS = st.dictionaries(NAMES, VALUES | st.lists(OPERATORS, min_size=1, max_size=2).map(dict), max_size=2)
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda them: {"$and": them}),
        st.lists(inner, min_size=1, max_size=3).map(lambda them: {"$or": them}),
        inner.map(lambda one: {"$not": one}),
    ),
    max_leaves=5,
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["$and", "$or", "$not", "$in", "$gt", "$eq", "$nin", "$x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def contained(value: Any, filter_json: Any) -> bool:
    """What jsonb calls containment, below the first level: all of `filter_json` is in `value`."""
    match filter_json:
        case dict():
            return isinstance(value, dict) and all(
                name in value and contained(value[name], one) for name, one in filter_json.items()
            )
        case list():
            return isinstance(value, list) and all(any(contained(one, other) for one in value) for other in filter_json)
        case _:
            return (
                isinstance(value, bool) == isinstance(filter_json, bool)
                and not isinstance(value, dict | list)
                and value == filter_json
            )


def holds(filter_json: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Whether a filter lets metadata through."""
    return all(member(name, value, metadata) for name, value in filter_json.items())


def member(name: str, value: Any, metadata: dict[str, Any]) -> bool:
    if name == "$and":
        return all(holds(one, metadata) for one in value)
    if name == "$or":
        return any(holds(one, metadata) for one in value)
    if name == "$not":
        return not holds(value, metadata)
    if isinstance(value, dict) and any(word.startswith("$") for word in value):
        return all(operator(word, one, name, metadata) for word, one in value.items())
    return name in metadata and contained(metadata[name], value)


def operator(word: str, value: Any, name: str, metadata: dict[str, Any]) -> bool:
    def equal(one: Any) -> bool:
        return name in metadata and contained(metadata[name], one)

    if word in ("$eq", "$ne"):
        return equal(value) == (word == "$eq")
    if word in ("$in", "$nin"):
        return any(map(equal, value)) == (word == "$in")
    matched = metadata.get(name)
    kinds = (str,) if isinstance(value, str) else (int, float)
    return isinstance(matched, kinds) and not isinstance(matched, bool) and COMPARED[word](matched, value)


@pytest.fixture
async def connection(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    """One connection for all examples of a test."""
    async with pool.acquire() as connection:
        yield connection


async def let_through(connection: Connection, filter_json: Any, metadata: list[dict[str, Any]]) -> list[bool]:
    """What Postgres says to a filter, for each metadata."""
    condition = parse_filter(filter_json)
    assert FIRST == 3
    rows = await connection.fetch(
        f"select {condition.sql} as matched, {condition.narrowed} as narrowed, {condition.index or 'true'} as by_index"
        " from unnest($1::jsonb[]) with ordinality d (metadata, at) where $2::int = 0 order by at",
        metadata, 0, *condition.values,
    )  # fmt: skip
    assert [row["narrowed"] for row in rows] == [row["matched"] for row in rows]
    assert all(row["by_index"] for row in rows if row["matched"])  # an index leaves out nothing that is looked for
    return [row["matched"] for row in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(200))
@given(filter_json=FILTERS, metadata=st.lists(METADATA, min_size=1, max_size=6))
async def test_a_filter_means_what_it_says(
    connection: Connection, filter_json: dict[str, Any], metadata: list[dict[str, Any]]
) -> None:
    assert await let_through(connection, filter_json, metadata) == [holds(filter_json, one) for one in metadata]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(200))
@given(filter_json=ANYTHING)
async def test_any_json_is_refused_or_runs_and_is_made_of_parameters_only(
    connection: Connection, filter_json: Any
) -> None:
    try:
        condition = parse_filter(filter_json)
    except Unprocessable:
        return
    assert PIECES.sub("", condition.narrowed) == ""
    assert await let_through(connection, filter_json, [{"a": 1}]) in ([True], [False])


@pytest.mark.parametrize(
    ("metadata", "filter_json", "matched"),
    [
        ({"year": 2020}, {"year": {"$gte": 2020, "$lt": 2021}}, True),
        ({"year": "2020"}, {"year": {"$gte": 2020}}, False),
        ({"year": 2020}, {"year": "2020"}, False),
        ({"year": 2020.0}, {"year": 2020}, True),
        ({"draft": True}, {"draft": 1}, False),
        ({"a": None}, {"a": None}, True),
        ({}, {"a": None}, False),
        ({}, {"a": {"$ne": 1}}, True),
        ({}, {"a": {"$nin": [1]}}, True),
        ({}, {"$not": {"a": {"$gt": 1}}}, True),
        ({"tags": ["a", "b"]}, {"tags": ["b"]}, True),
        ({"tags": ["a", "b"]}, {"tags": {"$in": [["c"], ["a"]]}}, True),
        ({"by": {"name": "x", "at": 1}}, {"by": {"name": "x"}}, True),
        ({"a": 1}, {"a": {"$in": []}}, False),
        ({"a": 1}, {"a": {"$nin": []}}, True),
        ({"a": 1}, {}, True),
        ({"a'; drop table x; --": 1}, {"a'; drop table x; --": 1}, True),
        ({"n": 10**299}, {"n": {"$gt": 10**298}}, True),
    ],
)
async def test_examples(connection: Connection, metadata: dict[str, Any], filter_json: Any, matched: bool) -> None:
    assert await let_through(connection, filter_json, [metadata]) == [matched]


def nested(depth: int) -> dict[str, Any]:
    """A filter that deep."""
    filter_json: dict[str, Any] = {"a": 1}
    for _ in range(depth):
        filter_json = {"$not": filter_json}
    return filter_json


@pytest.mark.parametrize(
    "wrong",
    [
        5, "x", [], True, {"$and": []}, {"$or": {}}, {"$not": []}, {"$and": [1]}, {"$where": "1=1"}, {"a": {"$regex": "x"}},
        {"a": {"$in": 5}}, {"a": {"$in": [1] * 201}}, {"a": {"$gt": None}}, {"a": {"$gt": True}}, {"a": {"$gt": []}},
        {"a": {"$gt": 1, "b": 2}}, {"a": {"b": {"$gt": 1}}}, {"a\0": 1}, {"a": "\0"}, {"a": {"b": "\0"}}, {"a": {"\0": 1}},
        {"a" * 201: 1}, {"a": "x" * 2001}, {"a": [0] * 201}, {"a": 10**300}, {"a": [[[[[[1]]]]]]}, {"\ud800": 1}, {"a": "\ud800"},
        nested(100), {str(at): at for at in range(MAX_CONDITIONS + 1)}, {"$or": [{"a": at} for at in range(1000)]},
        {"$and": [{}] * 1000}, {"a": {"$in": ["\0"]}}, {"$eq": 1},
    ],
    ids=lambda wrong: ascii(wrong)[:40],
)  # fmt: skip
def test_what_is_no_filter_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(Unprocessable) as raised:
        parse_filter(wrong)
    assert (raised.value.field or "").startswith("filter")


async def test_the_largest_allowed_filter_runs(connection: Connection) -> None:
    choices = [{"x": {"y": [at]}} for at in range(200)]
    filter_json = {"$or": [{f"field{at}": {"$in": choices}} for at in range(MAX_VALUES // 200)]}
    assert await let_through(connection, filter_json, [{"field9": {"x": {"y": [199]}}}]) == [True]


@pytest.mark.parametrize(
    "filter_json",
    [
        {f"field{at}": {"$in": list(range(200))} for at in range(30)},
        {"$or": [{f"field{at}": {"$nin": list(range(200))}} for at in range(11)]},
        {f"field{at}": [[0] * 200] for at in range(11)},
        {f"field{at}": at for at in range(MAX_CONDITIONS + 1)},
    ],
    ids=["lists of values", "lists in or", "values in values", "conditions"],
)
def test_a_filter_that_is_too_large_has_an_error_of_its_own(filter_json: Any) -> None:
    with pytest.raises(FilterTooLarge) as raised:
        parse_filter(filter_json)
    assert (raised.value.status, raised.value.code, raised.value.field) == (422, "FILTER_TOO_LARGE", "filter")


def test_comparisons_of_a_filter_are_counted() -> None:
    assert parse_filter({"a": 1}).comparisons == 1
    assert parse_filter({"a": {"$in": list(range(200))}, "b": {"$gt": 1}}).comparisons == 23
    assert parse_filter({"$or": [{"a": {"x": [1, 2]}}, {"$not": {"b": 1}}]}).comparisons == 2
