"""Conditions on metadata as SQL that holds nothing but parameters.

Metadata may be long, and Postgres unpacks it anew for every operator that reads it. So where a condition reads it more
than once it is unpacked once a row, in a subquery, and only then compared.
"""

from __future__ import annotations

from typing import Any

import msgspec

#: Where the parameters of a condition begin.
FIRST = 3

#: What conditions read; `whole` puts the column, or what was unpacked of it, in its place.
METADATA = "m.metadata"


class Condition(msgspec.Struct, frozen=True):
    """What a piece's metadata must be like: SQL over `d.metadata` with its parameters from `$FIRST` on.

    `index`: a condition that an index on metadata can answer, and that `sql` narrows; None where there is none.
    `comparisons`: how many are made for one row, about.
    """

    sql: str = "true"
    values: tuple[Any, ...] = ()
    index: str | None = None
    comparisons: int = 0

    @property
    def narrowed(self) -> str:
        """Both, for collections that have the index."""
        return self.sql if self.index is None else f"({self.index} and {self.sql})"


ALL = Condition()


class Part(msgspec.Struct, frozen=True):
    """A condition, or a part of one, that is still being put together."""

    sql: str
    index: str | None = None
    comparisons: int = 0


class Parameters:
    """Builds one condition and collects its values."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any, kind: str) -> str:
        """A value's place in the statement."""
        self.values.append(value)
        return f"${FIRST + len(self.values) - 1}::{kind}"

    def equal(self, name: str, value: Any) -> Part:
        """A field equals a value, or, where the value is an object or a list, contains it."""
        field = self.add(name, "text")
        if value is None:  # asyncpg sends no `null` of JSON
            is_null = f"coalesce(jsonb_typeof({METADATA} -> {field}) = 'null', false)"
            return Part(is_null, f"d.metadata @> jsonb_build_object({field}, null)", 1)
        expected = self.add(value, "jsonb")
        index = f"d.metadata @> jsonb_build_object({field}, {expected})"
        if isinstance(value, dict | list):
            return Part(f"coalesce(({METADATA} -> {field}) @> {expected}, false)", index, 1)
        return Part(f"coalesce(({METADATA} -> {field}) = {expected}, false)", index, 1)

    def one_of(self, name: str, values: list[Any]) -> Part:
        """A field equals one of some plain values, none of them null. Postgres looks them up by their hashes."""
        field, expected = self.add(name, "text"), self.add(values, "jsonb[]")
        return Part(
            f"coalesce(({METADATA} -> {field}) = any ({expected}), false)",
            f"d.metadata @> any (array(select jsonb_build_object({field}, x) from unnest({expected}) x))",  # noqa: S608
            1 + len(values) // 10,
        )

    def compared(self, name: str, operator: str, value: float | str) -> Part:
        """A field is a number, or a text, that compares so with a value."""
        kind = "string" if isinstance(value, str) else "number"
        field, bound = f"({METADATA} -> {self.add(name, 'text')})", self.add(value, "jsonb")
        return Part(f"(coalesce(jsonb_typeof({field}), '') = '{kind}' and {field} {operator} {bound})", None, 2)

    def whole(self, part: Part) -> Condition:
        """The condition."""
        sql = part.sql
        if sql.count(METADATA) > 1:
            # `||` unpacks; `offset 0` keeps the planner from putting it back into each place where it is used.
            sql = f"(select {sql} from (select d.metadata || '{{}}' as metadata offset 0) m)"  # noqa: S608
        else:
            sql = sql.replace(METADATA, "d.metadata")
        return Condition(sql, tuple(self.values), part.index, part.comparisons)


def negated(part: Part) -> Part:
    """The negation of a condition."""
    return Part(f"(not {part.sql})", None, part.comparisons)


def all_of(parts: list[Part]) -> Part:
    """All conditions must hold; an index for one of them is enough."""
    if not parts:
        return Part("true")
    narrow = [part.index for part in parts if part.index is not None]
    return Part(joined("and", [part.sql for part in parts]), joined("and", narrow) if narrow else None, total(parts))


def any_of(parts: list[Part]) -> Part:
    """Any condition must hold; each of them needs an index."""
    if not parts:
        return Part("false")
    narrow = [part.index for part in parts if part.index is not None]
    index = joined("or", narrow) if len(narrow) == len(parts) else None
    return Part(joined("or", [part.sql for part in parts]), index, total(parts))


def joined(word: str, parts: list[str]) -> str:
    """Several conditions as one."""
    return parts[0] if len(parts) == 1 else "(" + f" {word} ".join(parts) + ")"


def total(parts: list[Part]) -> int:
    """The number of comparisons of all parts."""
    return sum(part.comparisons for part in parts)
