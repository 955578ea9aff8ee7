"""Price lists: vendors' list prices, and the rates of `price: list + 31%`."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from kaixu.assets import asset
from kaixu.config.sections import Listed, PriceSection
from kaixu.config.values import Section, Whole

from .mistakes import ConfigError, did_you_mean
from .price import marked_up, rate_nusd
from .read import Path_, Reading, read_file
from .wording import described, mistakes_in

#: The alternative to rates: `list`, `list + 31%`, `list - 2.5%`.
TERMS = re.compile(r"list(?:\s*([+-])\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*%)?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
RATES = set(PriceSection.model_fields)

#: How many similar names are suggested for an unknown model.
MOST_SUGGESTIONS = 3


class ListedPrice(PriceSection):
    """What a vendor charges for one model."""

    aliases: list[str] = Field(default=[], max_length=50, description="the vendor's other names for it")
    image_tokens: Whole | None = Field(
        default=None, ge=1, le=1_000_000, description="the maximum number of tokens of one image"
    )
    note: str | None = Field(default=None, max_length=400, description="a note about these rates for the operator")


class PriceList(Section):
    """A vendor's list prices, in US dollars per million tokens."""

    vendor: str = Field(min_length=1, max_length=80, description="the vendor")
    as_of: date = Field(description="a day on which these prices were valid")
    images: str | None = Field(
        default=None, max_length=400, description="the source of `image_tokens`, and a day on which they were valid"
    )
    models: dict[str, ListedPrice] = Field(min_length=1, description="the rates, by the vendor's model name")

    @field_validator("as_of", mode="before")
    @classmethod
    def is_a_date(cls, value: object) -> date:
        """A date such as 2026-10-31, in exactly this form."""
        try:
            return date.fromisoformat(value if isinstance(value, str) and DATE.fullmatch(value) else "")
        except ValueError:
            raise ValueError("must be a date such as 2026-10-31") from None

    @property
    def names(self) -> list[str]:
        """All names of all models."""
        return [name for model, one in self.models.items() for name in (model, *one.aliases)]

    def price_of(self, upstream: str) -> ListedPrice | None:
        """The vendor's price of its model `upstream`, if it is in the list."""
        return self.models.get(upstream) or next((one for one in self.models.values() if upstream in one.aliases), None)


def packaged() -> dict[str, Path]:
    """The price lists that come with the gateway, by name."""
    return {path.stem: path for path in sorted((asset("config") / "prices").glob("*.yaml"))}


def read_price_list(path: Path) -> PriceList:
    """Read the file of a price list. Raises `ConfigError` with every mistake in it."""
    reading = read_file(path, {}, may_name_files=False)
    for at in reading.unset:
        reading.mistake(at, "a price list cannot use variables")
    prices: PriceList | None = None
    try:
        prices = PriceList.model_validate(reading.value)
    except ValidationError as error:
        reading.mistakes += mistakes_in(reading, error, PriceList)
    else:
        taken: set[str] = set()
        for model, one in prices.models.items():
            for name in (model, *one.aliases):
                if name in taken:
                    reading.mistake(("models", model), f"`{name}` is listed twice")
                taken.add(name)
    if reading.mistakes or prices is None:
        raise ConfigError(reading.mistakes)
    return prices


def percent_of(text: str) -> Decimal | None:
    """The percentage in `list + 31%`; None if `text` has another form."""
    terms = TERMS.fullmatch(text.strip())
    if terms is None:
        return None
    percent = Decimal((terms[1] or "") + (terms[2] or "0"))
    return percent if percent >= -100 else None


def rates_of(price: ListedPrice, percent: Decimal) -> dict[str, Decimal]:
    """The rates that a listed price states, plus `percent`, in whole nano-dollars."""
    stated = price.model_dump(include=RATES, exclude_unset=True, exclude_none=True)
    return {rate: Decimal(marked_up(rate_nusd(usd), percent)).scaleb(-9) for rate, usd in stated.items()}


class PriceLists:
    """The price lists that one kaixu.yaml uses, each read once. `folder` is the folder of kaixu.yaml."""

    def __init__(self, reading: Reading, folder: Path) -> None:
        self.reading = reading
        self.folder = folder
        self.read: dict[Path, PriceList | None] = {}

    def rates(self, at: Path_, lane: dict[str, Any], model: dict[str, Any]) -> tuple[dict[str, Decimal], Listed] | None:
        """The rates for the text at `at`: the price or the cost of `model` of `lane`.

        None if there are none. Adds a mistake, unless the lane is off because of an
        unset variable and the list or the model depends on that variable.
        """
        percent = percent_of(model[str(at[-1])])
        if percent is None:
            terms = "`list`, `list + N%`, or `list - N%` with N up to 100"
            self.reading.mistake(at, f"`{at[-1]}` must be a section of rates, {terms}")
            return None
        name = lane.get("price_list") or lane.get("plugin")
        upstream = model.get("upstream") or at[-2]
        unset = self.reading.unset.keys() & {(*at[:2], "price_list"), (*at[:-1], "upstream")}
        if unset or not isinstance(name, str) or not isinstance(upstream, str):
            return None
        prices = self.named(name, (*at[:2], "price_list") if lane.get("price_list") else at)
        if prices is None:
            return None
        price = prices.price_of(upstream)
        shown = upstream[:100]
        if price is None:
            meant = did_you_mean(shown, prices.names, MOST_SUGGESTIONS)
            self.reading.mistake(at, f"price list `{name}` of {prices.as_of} has no model `{shown}`{meant}")
            return None
        if model.get("type") == "chat" and "output" not in price.model_fields_set:
            problem = f"{described(at)} needs `output`, which price list `{name}` does not have for `{shown}`"
            self.reading.mistake(at, problem)
            return None
        terms = "list" if percent.is_zero() else f"list {'-' if percent < 0 else '+'} {abs(percent)} %"
        return rates_of(price, percent), Listed(name, prices.as_of, terms, price.note, price.image_tokens)

    def named(self, name: str, at: Path_) -> PriceList | None:
        """The list `name`: one of the gateway's, or a file. Adds mistakes and returns None if it cannot be read."""
        path = self.find(name, at)
        if path is None:
            return None
        if path not in self.read:
            self.read[path] = None
            try:
                self.read[path] = read_price_list(path)
            except ConfigError as error:
                self.reading.mistakes += error.mistakes
        return self.read[path]

    def find(self, name: str, at: Path_) -> Path | None:
        """The file of the list `name`; only `price_list` may name a file. None, with a mistake, if missing."""
        if at[-1] == "price_list" and ("/" in name or name.endswith((".yaml", ".yml"))):
            path = self.folder / name
            if path.is_file():
                return path
            self.reading.mistake(at, f"no such price list beside kaixu.yaml: {name[:200]}")
            return None
        known = packaged()
        if name not in known:
            hint = did_you_mean(name[:200], known) or f"; name one with `price_list`: {', '.join(known)}, or a file"
            self.reading.mistake(at, f"no such price list: `{name[:200]}`{hint}")
        return known.get(name)
