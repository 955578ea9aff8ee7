"""Credits that an integration books for customers, and what a customer has left."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

import msgspec

#: What an integration may do beyond its own tables, if the operator grants it in kaixu.yaml.
Grant = Literal["credit", "customers", "mail"]

#: The most of one credit, or of what is taken back, in nano-dollars: ten million dollars.
MOST_CREDIT_NUSD = 10**16

#: The most credits of one transaction.
MOST_CREDITS = 100

#: Characters of a key, and of a reference.
MOST_KEY = 200
MOST_REFERENCE = 200

SOURCE = re.compile(r"[a-z][a-z0-9_]{0,39}")
MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])")

#: What the gateway's own credits are called.
RESERVED_SOURCES = frozenset({"carried", "code", "demo", "import", "manual", "rollover"})


class Balance(msgspec.Struct, frozen=True):
    """What a customer has in a month, in nano-dollars.

    Credit is used after the cap. `credit_nusd` are all credits of the month less what was taken back, with
    `carried_nusd`, which came from earlier months (negative: debt). `unspent_nusd` is what is left of the credit;
    `debt_nusd` is credit that was used and then taken back: until it is paid, nothing is available. `available_nusd`:
    what the next call may cost.
    """

    month: str
    cap_nusd: int
    credit_nusd: int
    carried_nusd: int
    spent_nusd: int
    held_nusd: int
    available_nusd: int
    unspent_nusd: int
    debt_nusd: int


class CreditRequest(msgspec.Struct, frozen=True):
    """A credit to be booked with its transaction. `month` None: the present one."""

    customer_id: int
    amount_nusd: int
    key: str
    month: date | None
    source: str
    reference: str


def credit_request(
    integration: str,
    customer_id: int,
    amount_nusd: int,
    *,
    key: str,
    month: str | None,
    source: str | None,
    reference: str | None,
) -> CreditRequest:
    """A credit as an integration asks for it. Raises `TypeError`, `ValueError`: mistakes of the plugin."""
    for name, value in (("customer_id", customer_id), ("amount_nusd", amount_nusd)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"`{name}` of a credit must be a whole number, not {value!r:.40}")
    if not 0 < customer_id < 2**63:
        raise ValueError(f"there can be no customer {customer_id}")
    if not 0 < abs(amount_nusd) <= MOST_CREDIT_NUSD:
        raise ValueError(f"a credit has 1 to {MOST_CREDIT_NUSD} nano-dollars, or as many are taken back")
    text_of("key", key, MOST_KEY)
    if reference is not None:
        text_of("reference", reference, MOST_REFERENCE)
    source = integration.replace("-", "_") if source is None else source
    if not isinstance(source, str) or not SOURCE.fullmatch(source) or source in RESERVED_SOURCES:
        raise ValueError(f"{source!r:.60} cannot be the source of a credit of an integration")
    if month is not None and not (isinstance(month, str) and MONTH.fullmatch(month)):
        raise ValueError(f"`month` must be like 2026-11, not {month!r:.40}")
    named = None if month is None else date.fromisoformat(f"{month}-01")
    return CreditRequest(customer_id, amount_nusd, key, named, source, reference or "")


def text_of(name: str, value: object, most: int) -> str:
    """A text that can be stored. Raises `ValueError`."""
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        raise ValueError(f"`{name}` of a credit must have 1 to {most} printable characters")
    return value
