"""`kaixu prices …`: price, cost and margin of every model, and the included price lists."""

from __future__ import annotations

import os
from typing import Any

import typer

from kaixu.config.document import Document
from kaixu.config.load import load
from kaixu.config.margins import SHOWN, figures
from kaixu.config.mistakes import ConfigError, did_you_mean
from kaixu.config.price import CHARGED, usd
from kaixu.config.price_list import ListedPrice, packaged, read_price_list

from .examples import example
from .failure import fail
from .report import print_rows
from .session import AsJson, load_settings

commands = typer.Typer(
    no_args_is_help=True,
    help="Prices: price, cost and margin of every model, and the included price lists.",
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="prices")


@commands.command(epilog=example("prices check"))
def check(as_json: AsJson = False) -> None:
    """Show every model's price, cost and margin; exit 1 if a price is below its cost."""
    rows = [
        {"lane": lane, "model": name, "upstream": model.upstream or name, "type": model.type, **figures(model)}
        for lane, section in document().lanes.items()
        for name, model in section.models.items()
    ]
    print_rows(rows if as_json else [line(row) for row in rows], as_json=as_json, title="USD per million tokens")
    losses = [f"{row['lane']}/{row['model']} ({', '.join(row['loss'])})" for row in rows if row["loss"]]
    if losses:
        raise fail(f"priced below cost: {'; '.join(losses)}", hint="Raise `price`, or write what you pay as `cost`.")


@commands.command("list", epilog=example("prices list openai"))
def list_prices(
    vendor: str = typer.Argument(None, help="The name of a list; default: all lists."), as_json: AsJson = False
) -> None:
    """List the included price lists with their dates, or the prices of one list."""
    known = packaged()
    if vendor is None:
        rows = []
        for name, path in known.items():
            prices = read_price_list(path)
            rows.append({"name": name, "vendor": prices.vendor, "as_of": prices.as_of, "models": len(prices.models)})
        print_rows(rows, as_json=as_json, title="price lists")
        return
    if vendor not in known:
        raise fail(f"no such price list: `{vendor}`{did_you_mean(vendor, known)}", hint=f"Lists: {', '.join(known)}.")
    prices = read_price_list(known[vendor])
    title = f"{prices.vendor}, as of {prices.as_of}, USD per million tokens"
    print_rows([entry(name, one, as_json) for name, one in prices.models.items()], as_json=as_json, title=title)


def document() -> Document:
    """Load kaixu.yaml without its lanes; end the command if the file is invalid."""
    try:
        return load(load_settings().kaixu_config, os.environ)
    except ConfigError as error:
        raise fail(error) from None


def line(row: dict[str, Any]) -> dict[str, Any]:
    """A model's row in the table."""
    priced, costed = row["price_from"] is not None, row["cost_from"] is not None
    margin = pair(row, "margin", "percent") if priced and costed else "unknown"
    return {
        "lane": row["lane"],
        "model": row["model"],
        "upstream": row["upstream"],
        "price in / out": pair(row, "price", "usd") if priced else "none: calls are refused",
        "cost in / out": pair(row, "cost", "usd") if costed else "unknown",
        "margin %": f"LOSS {margin}" if row["loss"] else margin,
        "price from": row["price_from"],
        "list": f"{row['list']} {row['as_of']}" if row["list"] else None,
    }


def pair(row: dict[str, Any], what: str, unit: str) -> str:
    """The figures of input and output, or only of input for embeddings."""
    values = [row[f"{what}_{kind}_{unit}"] for kind in SHOWN if kind in CHARGED[row["type"]]]
    return " / ".join("–" if value is None else value for value in values)


def entry(name: str, price: ListedPrice, as_json: bool) -> dict[str, Any]:
    """A model of a price list; None for tokens without a rate of their own."""
    rates = price.price()
    stated = price.model_dump(exclude_unset=True, exclude_none=True)
    unit = "_usd" if as_json else ""
    shown = {f"{kind}{unit}": usd(getattr(rates, kind)) if kind in stated else None for kind in CHARGED["chat"]}
    shown["image_tokens"] = None if price.image_tokens is None else str(price.image_tokens)
    return {"model": name, **shown, "note": price.note} | ({"aliases": price.aliases} if as_json else {})
