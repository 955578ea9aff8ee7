"""`filter`: what the metadata of a search's results must be like → conditions that hold nothing but parameters.

    {"lang": "en", "year": {"$gte": 2020}, "$or": [{"tag": {"$in": ["a", "b"]}}, {"$not": {"draft": true}}]}

A plain value means equality, an object without operators that it is contained, all members of an object hold together.
"""

from __future__ import annotations

from typing import Any

from kaixu.plugin.errors import Unprocessable
from kaixu.store.search import FIRST, Condition

MOST_DEPTH = 6
MOST_CONDITIONS = 64
MOST_CHOICES = 200
MOST_FIELD = 200
MOST_VALUE = 2000
MOST_NESTED = 5

COMPARED = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
OPERATORS = ("$eq", "$ne", "$in", "$nin", *COMPARED)
LOGIC = ("$and", "$or", "$not")


def condition_of(value: Any, field: str = "filter") -> Condition:
    """A filter as it was sent. Raises `Unprocessable`, naming the place."""
    if value is None:
        return Condition()
    reader = Reader()
    sql, indexed = reader.object(value, field, depth=1)
    return Condition(sql, tuple(reader.values), indexed)


class Reader:
    """Reads one filter, collecting its values."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.conditions = 0

    def param(self, value: Any, kind: str) -> str:
        """A value's place in the statement."""
        self.values.append(value)
        return f"${FIRST + len(self.values) - 1}::{kind}"

    def object(self, value: Any, place: str, *, depth: int) -> tuple[str, bool]:
        """All members of an object hold together."""
        if not isinstance(value, dict):
            raise wrong(place, "must be an object")
        if depth > MOST_DEPTH:
            raise wrong(place, f"is nested deeper than {MOST_DEPTH} levels")
        parts = [self.member(name, one, f"{place}.{name}", depth) for name, one in value.items()]
        return all_of(parts)

    def member(self, name: str, value: Any, place: str, depth: int) -> tuple[str, bool]:
        """One member: a field and what it must be like, or a word that joins others."""
        self.conditions += 1
        if self.conditions > MOST_CONDITIONS:
            raise wrong("filter", f"has more than {MOST_CONDITIONS} conditions")
        if name in ("$and", "$or"):
            if not isinstance(value, list) or not 1 <= len(value) <= MOST_CONDITIONS:
                raise wrong(place, f"must be a list of 1 to {MOST_CONDITIONS} filters")
            parts = [self.object(one, f"{place}[{at}]", depth=depth + 1) for at, one in enumerate(value)]
            return all_of(parts) if name == "$and" else any_of(parts)
        if name == "$not":
            sql, _ = self.object(value, place, depth=depth + 1)
            return f"not coalesce({sql}, false)", False
        if name.startswith("$"):
            raise wrong(place, f"is no operator; there are {', '.join((*LOGIC, *OPERATORS))}")
        if len(name) > MOST_FIELD or not storable(name):
            raise wrong(place[:100], "is no name of a field")
        if isinstance(value, dict) and any(one.startswith("$") for one in value):
            return all_of([self.operator(name, word, one, f"{place}.{word}") for word, one in value.items()])
        return self.contains(name, value, place), True

    def operator(self, name: str, word: str, value: Any, place: str) -> tuple[str, bool]:
        """One operator on a field."""
        self.conditions += 1
        if word == "$eq":
            return self.contains(name, value, place), True
        if word == "$ne":
            return f"not coalesce({self.contains(name, value, place)}, false)", False
        if word in ("$in", "$nin"):
            if not isinstance(value, list) or len(value) > MOST_CHOICES:
                raise wrong(place, f"must be a list of at most {MOST_CHOICES} values")
            sql, indexed = any_of([(self.contains(name, one, place), True) for one in value])
            return (sql, indexed) if word == "$in" else (f"not coalesce({sql}, false)", False)
        if word in COMPARED:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise wrong(place, "must be a number or text")
            kind = "string" if isinstance(value, str) else "number"
            field = f"(d.metadata -> {self.param(name, 'text')})"
            bound = self.param(checked(value, place), "jsonb")
            return f"(jsonb_typeof({field}) = '{kind}' and {field} {COMPARED[word]} {bound})", False
        raise wrong(place, f"is no operator; there are {', '.join(OPERATORS)}")

    def contains(self, name: str, value: Any, place: str) -> str:
        """A field equals a value, or contains it."""
        return f"d.metadata @> {self.param({name: checked(value, place)}, 'jsonb')}"


def all_of(parts: list[tuple[str, bool]]) -> tuple[str, bool]:
    """All of them; one that an index narrows is enough."""
    if not parts:
        return "true", False
    return "(" + " and ".join(sql for sql, _ in parts) + ")", any(indexed for _, indexed in parts)


def any_of(parts: list[tuple[str, bool]]) -> tuple[str, bool]:
    """Any of them; an index must narrow each."""
    if not parts:
        return "false", False
    return "(" + " or ".join(sql for sql, _ in parts) + ")", all(indexed for _, indexed in parts)


def checked(value: Any, place: str, depth: int = 1) -> Any:
    """A value that metadata can have."""
    if depth > MOST_NESTED:
        raise wrong(place, f"is nested deeper than {MOST_NESTED} levels")
    match value:
        case str():
            if len(value) > MOST_VALUE or not storable(value):
                raise wrong(place, f"must be text of at most {MOST_VALUE} characters, none of them NUL")
        case dict():
            for name, one in value.items():
                if name.startswith("$") or not storable(name):
                    raise wrong(place, "mixes operators with a value")
                checked(one, place, depth + 1)
        case list():
            if len(value) > MOST_CHOICES:
                raise wrong(place, f"has more than {MOST_CHOICES} entries")
            for one in value:
                checked(one, place, depth + 1)
        case int() if abs(value) >= 10**300:
            raise wrong(place, "is too large a number")
        case _:
            pass
    return value


def storable(text: str) -> bool:
    """Whether Postgres can store it: no NUL, no half of a surrogate pair."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def wrong(place: str, says: str) -> Unprocessable:
    """The error of a place in the filter."""
    return Unprocessable(f"`{place[:200]}` {says}", field=place[:200])
