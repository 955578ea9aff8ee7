"""What an import did with each field of the other gateway: taken, changed, or dropped, with the reason."""

from __future__ import annotations

from typing import Literal

import msgspec

from .values import printable

Outcome = Literal["taken", "changed", "dropped", "empty"]

#: How many rows are named for each reason.
MOST_EXAMPLES = 3


class FieldReport(msgspec.Struct):
    """What happened to a field in `rows` rows, for one reason; `examples` names a few of them."""

    table: str
    field: str
    outcome: Outcome
    rows: int = 0
    reason: str | None = None
    examples: list[str] = []


class TableReport(msgspec.Struct, frozen=True):
    """A table that is not read."""

    table: str
    rows: int
    reason: str


class Report:
    """Counts outcomes by table, field and reason."""

    def __init__(self) -> None:
        self.notes: dict[tuple[str, str, Outcome, str | None], FieldReport] = {}

    def taken(self, table: str, *fields: str) -> None:
        """The fields of a row were taken as they are."""
        for field in fields:
            self.note(table, field, "taken", None, None)

    def changed(self, table: str, field: str, reason: str, row: str) -> None:
        """A field of a row was taken with another meaning or value."""
        self.note(table, field, "changed", reason, row)

    def dropped(self, table: str, field: str, reason: str, row: str) -> None:
        """A field of a row was left out."""
        self.note(table, field, "dropped", reason, row)

    def note(
        self, table: str, field: str, outcome: Outcome, reason: str | None, row: str | None, rows: int = 1
    ) -> None:
        """Count an outcome."""
        table, field = printable(table), printable(field)
        key = (table, field, outcome, reason)
        if key not in self.notes:
            self.notes[key] = FieldReport(table, field, outcome, 0, reason, [])
        one = self.notes[key]
        one.rows += rows
        if row is not None and len(one.examples) < MOST_EXAMPLES:
            one.examples.append(printable(row))

    def address_taken(self, table: str, field: str, row: str) -> None:
        """The address of a customer, reported as taken before, is another customer's."""
        if (one := self.notes.get((table, field, "taken", None))) is not None:
            one.rows -= 1
        self.changed(table, field, "another customer has this address: the customer gets a made-up one", row)

    def has(self, table: str, field: str) -> bool:
        """Whether a field has any outcome."""
        return any(key[:2] == (table, field) for key in self.notes)

    @property
    def fields(self) -> list[FieldReport]:
        """All outcomes, by table and field."""
        return sorted(self.notes.values(), key=lambda one: (one.table, one.field, one.outcome, one.reason or ""))
