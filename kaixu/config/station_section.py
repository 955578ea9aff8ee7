"""The section `station:` of kaixu.yaml: the public page with the products that customers pay their usage by."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, SecretStr

from .values import Number, Section
from .web_address import BaseAddress, LaunchAddress

#: What one unit of a product costs, in US dollars.
UnitPrice = Annotated[Decimal, Number, Field(gt=0, le=1_000_000, decimal_places=9)]
BonusPercent = Annotated[Decimal, Number, Field(ge=0, le=1000, decimal_places=4)]
DiscountPercent = Annotated[Decimal, Number, Field(ge=0, le=100, decimal_places=4)]
ProductName = Annotated[str, Field(min_length=1, max_length=80)]


class ProductSection(Section):
    """One product. What is not set comes from the environment, or from the default."""

    name: ProductName | None = Field(default=None, description="its name; default: the environment variable's")
    role: str | None = Field(default=None, max_length=200, description="what it is for, in a few words")
    description: str | None = Field(default=None, max_length=1000, description="what it is")
    unit_usd: UnitPrice | None = Field(
        default=None, description="the price of one unit in USD; default: the environment variable's"
    )


class ProductsSection(Section):
    """The four products."""

    fuel: ProductSection = Field(default=ProductSection(), description="what is bought: SKYEFUEL_STATION_FUEL_USD")
    tokens: ProductSection = Field(
        default=ProductSection(), description="what services are paid with: SKYEFUEL_STATION_TOKEN_USD"
    )
    coins: ProductSection = Field(default=ProductSection(), description="what is given: SKYEFUEL_STATION_COIN_USD")
    keys: ProductSection = Field(
        default=ProductSection(), description="access by keys: SKYEFUEL_STATION_KEY_SESSION_USD"
    )


class BrainSection(Section):
    """Another server with an overview of its own, which the admin page shows beside the station's."""

    url: BaseAddress | None = Field(default=None, description="its address; default: SKYEFUEL_STATION_BRAIN_URL")
    public_url: BaseAddress | None = Field(
        default=None, description="its address for everybody; default: SKYEFUEL_STATION_BRAIN_PUBLIC_URL"
    )
    token: SecretStr | None = Field(
        default=None, description="sent to it as Bearer; default: SKYEFUEL_STATION_BRAIN_ADMIN_TOKEN"
    )


class StationSection(Section):
    """The station."""

    name: ProductName = Field(default="SkyeFuelStation", description="its name")
    tagline: str = Field(default="Fuel and assets for the gateway", max_length=200, description="the line below it")
    public_url: LaunchAddress | None = Field(
        default=None, description="where its page is; default: `/skyefuelstation/` below GATEWAY_URL"
    )
    admin_url: LaunchAddress | None = Field(default=None, description="the operators' page; default: `/gateway`")
    dashboard_url: LaunchAddress | None = Field(
        default=None, description="the customers' page; default: `/gateway/dashboard.html`"
    )
    bonus_return_pct: BonusPercent | None = Field(
        default=None, description="percent of units that are added; default: SKYEFUEL_STATION_BONUS_RETURN_PCT"
    )
    discount_pct: DiscountPercent | None = Field(
        default=None, description="percent of the spend that is taken off; default: SKYEFUEL_STATION_DISCOUNT_PCT"
    )
    products: ProductsSection = Field(default=ProductsSection(), description="the products")
    brain: BrainSection = Field(default=BrainSection(), description="another server whose overview is shown, too")
    public_totals: bool = Field(
        default=True,
        description="false: the public overview shows no totals of customers, keys, spending and tokens",
    )
