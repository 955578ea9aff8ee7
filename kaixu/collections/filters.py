"""Parse `filter`, a search's condition on metadata, into SQL conditions with parameters.

    {"lang": "en", "year": {"$gte": 2020}, "$or": [{"tag": {"$in": ["a", "b"]}}, {"$not": {"draft": true}}]}

A plain value means equality; an object without operators must be contained; all members of an object must be true.
"""

from __future__ import annotations

from typing import Any

from kaixu.plugin.errors import FilterTooLarge, Unprocessable
from kaixu.store.conditions import Condition, Parameters, Part, all_of, any_of, negated

MAX_DEPTH = 6
MAX_CONDITIONS = 64
MAX_CHOICES = 200
MAX_VALUES = 2000
MAX_FIELD = 200
MAX_VALUE = 2000
MAX_NESTED = 5

COMPARED = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
OPERATORS = ("$eq", "$ne", "$in", "$nin", *COMPARED)
LOGIC = ("$and", "$or", "$not")


def parse_filter(value: Any, field: str = "filter") -> Condition:
    """Parse the field. Raises `Unprocessable` with the path, and `FilterTooLarge`."""
    if value is None:
        return Condition()
    parser = FilterParser()
    return parser.parameters.whole(parser.object(value, field, depth=1))


class FilterParser:
    """Parses one filter and collects its values."""

    def __init__(self) -> None:
        self.parameters = Parameters()
        self.conditions = 0
        self.values = 0

    def object(self, value: Any, place: str, *, depth: int) -> Part:
        """An object: all its members must be true."""
        if not isinstance(value, dict):
            raise invalid_filter(place, "must be an object")
        if depth > MAX_DEPTH:
            raise invalid_filter(place, f"is nested deeper than {MAX_DEPTH} levels")
        return all_of([self.member(name, one, f"{place}.{name}", depth) for name, one in value.items()])

    def member(self, name: str, value: Any, place: str, depth: int) -> Part:
        """One member: a field and its condition, or a logical operator."""
        self.count_condition()
        if name in ("$and", "$or"):
            if not isinstance(value, list) or not 1 <= len(value) <= MAX_CONDITIONS:
                raise invalid_filter(place, f"must be a list of 1 to {MAX_CONDITIONS} filters")
            parts = [self.object(one, f"{place}[{at}]", depth=depth + 1) for at, one in enumerate(value)]
            return all_of(parts) if name == "$and" else any_of(parts)
        if name == "$not":
            return negated(self.object(value, place, depth=depth + 1))
        if name.startswith("$"):
            raise invalid_filter(place, f"is not an operator; operators are {', '.join((*LOGIC, *OPERATORS))}")
        if len(name) > MAX_FIELD or not is_storable(name):
            raise invalid_filter(place[:100], "is not a field name")
        if isinstance(value, dict) and any(one.startswith("$") for one in value):
            return all_of([self.operator(name, word, one, f"{place}.{word}") for word, one in value.items()])
        return self.equal(name, value, place)

    def operator(self, name: str, word: str, value: Any, place: str) -> Part:
        """One operator on a field."""
        self.count_condition()
        if word == "$eq":
            return self.equal(name, value, place)
        if word == "$ne":
            return negated(self.equal(name, value, place))
        if word in ("$in", "$nin"):
            if not isinstance(value, list) or len(value) > MAX_CHOICES:
                raise invalid_filter(place, f"must be a list of at most {MAX_CHOICES} values")
            part = self.one_of(name, value, place)
            return part if word == "$in" else negated(part)
        if word in COMPARED:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise invalid_filter(place, "must be a number or text")
            return self.parameters.compared(name, COMPARED[word], self.value(value, place))
        raise invalid_filter(place, f"is not an operator; operators are {', '.join(OPERATORS)}")

    def equal(self, name: str, value: Any, place: str) -> Part:
        """A field equals a value, or contains it."""
        return self.parameters.equal(name, self.value(value, place))

    def one_of(self, name: str, values: list[Any], place: str) -> Part:
        """A field equals, or contains, one of some values."""
        plain = [self.value(one, place) for one in values if isinstance(one, str | int | float)]
        parts = [self.equal(name, one, place) for one in values if not isinstance(one, str | int | float)]
        return any_of([self.parameters.one_of(name, plain), *parts] if plain else parts)

    def count_condition(self) -> None:
        """Count one more condition. Raises `FilterTooLarge`."""
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            raise filter_too_large(f"has more than {MAX_CONDITIONS} conditions")

    def value(self, value: Any, place: str) -> Any:
        """Check a value and count its plain values. Raises `FilterTooLarge`, `Unprocessable`."""
        self.values += count_values(check_value(value, place))
        if self.values > MAX_VALUES:
            raise filter_too_large(f"has more than {MAX_VALUES} values")
        return value


def filter_too_large(problem: str) -> FilterTooLarge:
    """The error for a filter as a whole."""
    return FilterTooLarge(f"`filter` {problem}", hint="Use fewer conditions and fewer values.", field="filter")


def count_values(value: Any) -> int:
    """The number of plain values in a value; an empty object or list counts as one."""
    if isinstance(value, dict):
        return max(1, sum(map(count_values, value.values())))
    return max(1, sum(map(count_values, value))) if isinstance(value, list) else 1


def check_value(value: Any, place: str, depth: int = 1) -> Any:
    """Check that metadata can have this value. Raises `Unprocessable`."""
    if depth > MAX_NESTED:
        raise invalid_filter(place, f"is nested deeper than {MAX_NESTED} levels")
    match value:
        case str():
            if len(value) > MAX_VALUE or not is_storable(value):
                raise invalid_filter(place, f"must be text of at most {MAX_VALUE} characters, none of them NUL")
        case dict():
            for name, one in value.items():
                if name.startswith("$") or not is_storable(name):
                    raise invalid_filter(place, "mixes operators with a value")
                check_value(one, place, depth + 1)
        case list():
            if len(value) > MAX_CHOICES:
                raise invalid_filter(place, f"has more than {MAX_CHOICES} entries")
            for one in value:
                check_value(one, place, depth + 1)
        case int() if abs(value) >= 10**300:
            raise invalid_filter(place, "is too large a number")
        case _:
            pass
    return value


def is_storable(text: str) -> bool:
    """Whether Postgres can store a text: it has no NUL and no unpaired surrogate."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def invalid_filter(place: str, problem: str) -> Unprocessable:
    """The error for a part of the filter."""
    return Unprocessable(f"`{place[:200]}` {problem}", field=place[:200])
