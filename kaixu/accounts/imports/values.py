"""Reads values of another gateway's database: from SQLite they are typed, from a dump they are text.

Each returns None, or an empty container, for a value that is missing or cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from kaixu.accounts.fields import EMAIL, MOST_CENTS
from kaixu.config.price import NUSD_PER_USD, nusd_of_cents

#: The highest cap, in nano-dollars.
MOST_NUSD = nusd_of_cents(MOST_CENTS)

Row = Mapping[str, Any]

#: An element of an array of Postgres: in quotes, or bare.
ELEMENT = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^,{}"]++)')
#: A list without elements, in both forms; `null` as JSON writes it.
NO_ELEMENTS = re.compile(r"\{\s*\}|\[\s*\]|null", re.IGNORECASE)
#: What Postgres cannot store.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(value: object) -> str | None:
    """Text without surrounding space; None for blank."""
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return UNSTORABLE.sub("", str(value)).strip() or None


def shown(value: object, most: int) -> str | None:
    """Text of printable characters, cut to `most`."""
    written = text(value)
    return None if written is None else printable(written)[:most].strip() or None


def printable(written: str) -> str:
    """A text without characters that a terminal would obey."""
    return UNPRINTABLE.sub("", written)


def number(value: object) -> Decimal | None:
    """A finite number."""
    written = text(value)
    if written is None or isinstance(value, bool):
        return None
    try:
        found = Decimal(written)
    except InvalidOperation:
        return None
    return found if found.is_finite() and abs(found.adjusted()) < 30 else None


def whole(value: object) -> int | None:
    """A whole number; what is behind the point is cut."""
    found = number(value)
    return None if found is None else int(found)


def flag(value: object) -> bool:
    """True for what the three kinds of sources write for true."""
    return value is True or (not isinstance(value, bool) and str(value).strip().lower() in ("t", "true", "1"))


def moment(value: object) -> datetime | None:
    """A time; without a zone it is UTC."""
    written = text(value)
    if written is None:
        return None
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def seconds(value: object) -> datetime | None:
    """A time in seconds since 1970; None for 0 and below, which mean never."""
    found = whole(value)
    try:
        return None if found is None or found <= 0 else datetime.fromtimestamp(found, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def text_list(value: object) -> list[str]:
    """A list of texts: an array of Postgres, or JSON."""
    written = text(value)
    if written is None:
        return []
    if written.startswith("["):
        found = json(written)
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
    if not (written.startswith("{") and written.endswith("}")):
        return []
    return [
        re.sub(r"\\(.)", r"\1", match[1]) if match[2] is None else match[2].strip()
        for match in ELEMENT.finditer(written[1:-1])
        if match[2] is None or match[2].strip().upper() != "NULL"
    ]


def is_no_list(value: object) -> bool:
    """Whether there is a value from which `text_list` reads nothing, though it is no empty list."""
    written = text(value)
    return written is not None and not NO_ELEMENTS.fullmatch(written) and not text_list(value)


def json(value: object) -> Any:
    """The value of a JSON text."""
    written = text(value)
    try:
        return None if written is None else msgspec.json.decode(written)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def mapping(value: object) -> dict[str, Any]:
    """A JSON object."""
    found = json(value)
    return found if isinstance(found, dict) else {}


def nusd(dollars: Decimal | None) -> int:
    """US dollars in whole nano-dollars, at least 0 and at most the highest cap."""
    if dollars is None or dollars.is_nan() or dollars <= 0:
        return 0
    if dollars * NUSD_PER_USD >= MOST_NUSD:
        return MOST_NUSD
    return int(dollars * NUSD_PER_USD + Decimal("0.5"))


def email(value: object) -> str | None:
    """An address in lower case; None if it is none."""
    written = text(value)
    if written is None or len(written) > 254 or UNPRINTABLE.search(written) or not EMAIL.fullmatch(written):
        return None
    return written.lower()
