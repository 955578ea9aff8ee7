"""The section `invoices:` of kaixu.yaml."""

from __future__ import annotations

from datetime import date as Day
from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from .values import Number, Section, Whole

Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Words = Annotated[str, Field(min_length=1, max_length=200)]
Note = Annotated[str, Field(min_length=1, max_length=500)]
#: A series' name; `{year}` is the year of issue, in UTC.
Series = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{0,20}(\{year\}[A-Za-z0-9._/-]{0,20})?$", min_length=1)]


class SellerSection(Section):
    """Who issues the invoices."""

    name: Words = Field(description="the full name")
    address: list[Words] = Field(min_length=1, max_length=6, description="the lines of the address")
    country: Country = Field(description="the country, as two capital letters (ISO 3166)")
    tax_id: Words | None = Field(default=None, description="the VAT or tax identification number")
    email: Words | None = Field(default=None, description="the address for questions")


class TaxRuleSection(Section):
    """The tax of some customers. The first rule that matches a customer applies; without one there is no tax."""

    countries: list[Country] = Field(default=[], max_length=250, description="the customers' countries; default: all")
    has_tax_id: bool | None = Field(
        default=None, description="true: only customers with a tax id; false: only those without; default: both"
    )
    rate: Annotated[Decimal, Number, Field(ge=0, le=100, decimal_places=2)] = Field(description="the rate, in percent")
    name: Words = Field(default="VAT", description="the tax's name")
    note: Note | None = Field(
        default=None, description="what the invoice must say: `Reverse charge`, or why there is no tax"
    )

    @property
    def hundredths(self) -> int:
        """The rate in hundredths of a percent."""
        return int(self.rate * 100)


class SecondCurrencySection(Section):
    """A second currency in which the totals are shown. The invoice itself is in USD."""

    currency: Currency = Field(description="the currency, as three capital letters (ISO 4217)")
    rate: Annotated[Decimal, Number, Field(gt=0, le=1_000_000)] = Field(description="how much of it one USD is")
    date: Day = Field(description="the day of the rate")
    source: Words = Field(description="where the rate comes from")


class InvoicesSection(Section):
    """Invoices."""

    seller: SellerSection | None = Field(
        default=None, description="who issues the invoices; without it there are drafts only"
    )
    series: Series = Field(default="INV-{year}", description="the series of invoices; `{year}`: the year of issue")
    credit_series: Series = Field(default="CN-{year}", description="the series of credit notes")
    digits: Whole = Field(default=5, ge=1, le=10, description="the least number of digits of a number")
    tax: list[TaxRuleSection] = Field(default=[], max_length=100, description="the rules for tax, in order")
    due_days: Whole = Field(default=14, ge=0, le=365, description="days until an invoice is due")
    lost_wait_h: Whole = Field(
        default=72, ge=0, le=720, description="how long after its end a month waits for calls that may be settled late"
    )
    auto_finalize: bool = Field(
        default=False, description="true: the gateway issues the invoices of closed months itself, every hour"
    )
    mail: bool = Field(
        default=False,
        description="true: invoices and credit notes are mailed when they are issued; needs `mail:`. A customer may "
        "differ",
    )
    require_address: bool = Field(
        default=True, description="false: also customers without name, address and country get invoices"
    )
    second_currency: SecondCurrencySection | None = Field(
        default=None, description="a second currency in which the totals are shown"
    )
    footer: Note | None = Field(default=None, description="a text at the end, for example how to pay")

    @model_validator(mode="after")
    def has_two_series(self) -> InvoicesSection:
        """Invoices and credit notes are numbered apart."""
        if self.series == self.credit_series:
            raise ValueError("`series` and `credit_series` must differ")
        return self

    def series_of(self, kind: str, year: int) -> str:
        """The series of a new invoice or credit note."""
        pattern = self.credit_series if kind == "credit_note" else self.series
        return pattern.replace("{year}", str(year))

    def number_name(self, series: str, number: int) -> str:
        """A number as it is printed."""
        return f"{series}-{number:0{self.digits}d}"
