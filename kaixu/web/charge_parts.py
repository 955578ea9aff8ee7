"""How the cost of a call came about, as a table: the same for operators and for customers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .components import Column, Money, Number, Row, Table

#: Kinds of tokens in words.
KINDS = {
    "input": "input",
    "cached_input": "input, cached",
    "cache_write": "input, written to the cache",
    "output": "output",
    "reasoning": "output, reasoning",
}

HOW_IT_ADDS_UP = (
    "Each line is tokens × rate, exact; the lines are added up and rounded once, half up, to the nano-dollar (a "
    "billionth of a dollar). The rates are those that were in force when the call was admitted: a later price changes "
    "no old call."
)


def charge_table(charge: Mapping[str, Any]) -> Table:
    """Tokens × rate, line by line, their exact sum, and the bill."""
    rows = [
        Row(
            cells=[
                KINDS.get(line["kind"], line["kind"].replace("_", " ")),
                Number(line["count"]),
                Money(line["usd_per_million"], digits=4),
                exact_nano(line["exact_nusd"]),
            ]
        )
        for line in charge["lines"]
        if line["count"] or len(charge["lines"]) == 1
    ]
    if charge["priced_nusd"] is not None:
        rows.append(Row(cells=["Sum, rounded once", "", "", Number(charge["priced_nusd"])]))
    rows.append(Row(cells=["Billed", "", "", Number(charge["billed_nusd"])], selected=True))
    return Table(
        id=f"charge-{charge['event_id']}",
        caption="Tokens × rate",
        columns=[
            Column(title="What", wide=True),
            Column(title="Count", align="right"),
            Column(title="USD a million", align="right"),
            Column(title="Nano-dollars", align="right", hint="1e-9 USD; exact"),
        ],
        rows=rows,
    )


def exact_nano(text: str) -> str:
    """Nano-dollars with their fraction, if they have one."""
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    return f"{int(whole):,}.{part}" if part else f"{int(whole):,}"
