"""Models and their prices as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .components import Badge, Cell, Code, Column, Empty, Money, Muted, Number, Row, Stack, Table

#: What a model can do besides text, in words; finer fields are in the documentation.
FEATURES = {"tools": "tools", "images": "images", "reasoning": "reasoning", "response_format": "JSON"}


def models_table(models: Sequence[Mapping[str, Any]], empty: Empty) -> Table:
    """What each model costs and can do; prices are USD for a million tokens."""
    return Table(
        id="models",
        caption="Models",
        columns=[
            Column(title="Model", wide=True),
            Column(title="Type"),
            Column(title="Input", align="right", hint="USD for a million tokens"),
            Column(title="Cached input", align="right", hint="USD for a million tokens that the vendor had cached"),
            Column(title="Output", align="right", hint="USD for a million tokens; reasoning is output"),
            Column(title="Size", align="right", hint="The most tokens of an answer, or the dimensions"),
            Column(title="Can do"),
        ],
        rows=[model_row(one) for one in models],
        empty=empty,
        note="Prices in USD for a million tokens. Each call is billed to the nano-dollar.",
    )


def model_row(one: Mapping[str, Any]) -> Row:
    """A model."""
    about = one["kaixu"]
    price = about["price_usd_per_million_tokens"]
    size: Cell = Number(about.get("max_output_tokens"), "tokens")
    if about["type"] != "chat":
        size = Number(about["dimensions"], "numbers") if about.get("dimensions") else None
    features = ["text", *(words for name, words in FEATURES.items() if name in about.get("supports", ()))]
    return Row(
        cells=[
            Stack([Code(one["id"], copy=True), Muted(about["provider"])], lines=True),
            Badge("info", about["type"]),
            Money(price["input"]),
            Money(price["cached_input"]),
            Money(price.get("output")),
            size,
            Muted(", ".join(features) if about["type"] == "chat" else "vectors"),
        ]
    )
