"""Numbers as text, by the unit of a chart: short on an axis, exact in a table."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal

Unit = Literal["usd", "count", "ms", "tokens", "percent"]

#: Values of these units can be added up; a sum of latencies or of shares says nothing.
SUMMED: frozenset[Unit] = frozenset({"usd", "count", "tokens"})

MINUS = "\N{MINUS SIGN}"
NO_VALUE = "\N{EN DASH}"

#: The largest magnitude that a chart takes; smaller than the least, a value counts as zero.
MOST, LEAST = 1e30, 1e-12

SHORT = [(Decimal(10) ** 12, "T"), (Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k")]


def exact(value: float) -> Decimal:
    """A value as a decimal, by its shortest form: 0.1 is 0.1. Raises `ValueError` if it is no number, or too large."""
    if not math.isfinite(value) or abs(value) > MOST:
        raise ValueError(f"a chart cannot show {value!r}: values are finite, at most {MOST:g}")
    return Decimal(repr(value)) if abs(value) >= LEAST else Decimal(0)


def plain(value: Decimal) -> str:
    """A decimal without exponent and without zeros at its end, its thousands separated."""
    text = f"{abs(value):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_unit(text: str, unit: Unit, *, negative: bool) -> str:
    """A number without sign, with its sign and its unit."""
    sign = MINUS if negative else ""
    if unit == "usd":
        return f"{sign}${text}"
    return f"{sign}{text}" + {"ms": " ms", "percent": " %"}.get(unit, "")


def exact_text(value: Decimal | None, unit: Unit) -> str:
    """All digits of a value: `$1,234.50`, `12,345`, `640 ms`, `0.31 %`."""
    if value is None:
        return NO_VALUE
    text = plain(value)
    if unit == "usd":
        whole, _, part = text.partition(".")
        text = f"{whole}.{part:<02}"
    return with_unit(text, unit, negative=value < 0)


def short_text(value: Decimal, unit: Unit, digits: int | None = None) -> str:
    """A value for an axis or a summary: `$1.2k`, `3.4M`, `2.5 s`. `digits`: the significant ones; None: all."""
    if value == 0:
        return "$0" if unit == "usd" else "0"
    if digits is not None:
        value = value.quantize(Decimal(1).scaleb(value.adjusted() - digits + 1))
    magnitude, suffix = abs(value), ""
    if unit == "ms":
        text = plain(magnitude / 1000) + " s" if magnitude >= 1000 else plain(magnitude) + " ms"
        return MINUS + text if value < 0 else text
    for size, letter in SHORT:
        if magnitude >= size:
            magnitude, suffix = magnitude / size, letter
            break
    return with_unit(plain(magnitude) + suffix, unit, negative=value < 0)
