"""Books of an integration: what a customer spends in one, its cap, and the charges that are held and billed by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import msgspec

from kaixu.plugin.cents import cents_of_nusd, in_cents
from kaixu.plugin.errors import Failure

#: How long a charge can be held at most, and how far back the time of a charge can lie.
MOST_HELD_S = 35 * 24 * 3600.0
MOST_LATE_S = 62 * 24 * 3600.0

#: More than any real count of units.
MOST_UNITS = 10**12

#: Characters of the key of a charge.
MOST_CHARGE_KEY = 200


class Monthly(msgspec.Struct, frozen=True):
    """A price for each month of a book: held with the first hold of a customer's month, billed with the first charge.

    `price` is the entry in the integration's section of kaixu.yaml, in USD. Only for charges by key.
    """

    price: str
    book: str = "ai"


class BookLine(msgspec.Struct, frozen=True):
    """One charge of a book in a month: what was billed, and what is held. Money is in nano-dollars."""

    charge: str
    count: int
    units: int
    nusd: int
    held_count: int = 0
    held_units: int = 0
    held_nusd: int = 0


class BookPrice(msgspec.Struct, frozen=True):
    """The price of a charge by key: `nusd` nano-dollars for every `per` of its unit ("calls", "months", or its own)."""

    nusd: int
    per: int
    unit: str

    @property
    def cents(self) -> int:
        """The price in cents, rounded half up."""
        return cents_of_nusd(self.nusd)


class BookMonth(msgspec.Struct, frozen=True):
    """A customer's month in a book. Money is in nano-dollars.

    `pricing_version`: of the price list, "default" for the section's `price`. `cap_nusd` None: no cap of its own.
    `base_nusd`: the part of `spent_nusd` that is for monthly charges. `lines`: by charge, monthly ones too; only those
    that there are. `prices`: of all charges by key in that version, by charge.
    """

    book: str
    month: date
    pricing_version: str
    cap_nusd: int | None
    spent_nusd: int
    held_nusd: int
    base_nusd: int
    lines: list[BookLine]
    prices: dict[str, BookPrice] = {}

    @property
    def spent_cents(self) -> int:
        """What was spent in cents, rounded half up once."""
        return cents_of_nusd(self.spent_nusd)

    def line_cents(self) -> dict[str, int]:
        """What was billed by charge in cents, which add up to that of all lines."""
        amounts = in_cents([line.nusd for line in self.lines])
        return {line.charge: cents for line, cents in zip(self.lines, amounts, strict=True)}

    def line(self, charge: str) -> BookLine:
        """The line of a charge; one of zeros where there is none."""
        return next((line for line in self.lines if line.charge == charge), BookLine(charge, 0, 0, 0))


class BookFacts(msgspec.Struct, frozen=True):
    """Why a hold was refused: the month, and what was asked for. Money is in nano-dollars.

    `asked_nusd`: what would be held more, monthly charges included. `cap_nusd`, `left_nusd`: of the cap that is
    reached, which is the account's or the key's where the book has none of its own.
    """

    month: BookMonth
    charge: str
    units: int
    asked_nusd: int
    cap_nusd: int
    left_nusd: int


class Book(msgspec.Struct, frozen=True):
    """An account beside the calls of models. `name` is unique in the gateway; charges name it with `book=`.

    `cap`: the setting of each customer, or the option in kaixu.yaml, that has its monthly cap in USD: None means no
    cap, 0 refuses. Such a book never draws on the customer's cap; a book without `cap` does. `version`: the setting of
    each customer that names its price list among the section's `price_versions`. `refused` makes the error for a hold
    that the cap has no room for.

    `statement` makes what invoices show of a month by the book's name, and `user-push-charges` for the books `push` and
    `github`: values that JSON can express, at most 16 KiB. It only computes; the months are those of all customers.
    """

    name: str
    title: str = ""
    cap: str | None = None
    version: str | None = None
    refused: Callable[[BookFacts], Failure] | None = None
    statement: Callable[[BookMonth], Mapping[str, Any]] | None = None
