"""The station as it is in force: kaixu.yaml first, then the environment, then defaults; and what a spend buys there.

Prices and percentages are exact decimals; amounts are computed in whole hundredths.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from pydantic import SecretStr

from .environment import Settings
from .station_section import ProductSection, StationSection

#: Where the station's page is on this gateway.
PUBLIC_PATH = "/skyefuelstation/"
ADMIN_PATH = "/gateway"
DASHBOARD_PATH = "/gateway/dashboard.html"

#: The spend of the example that the page shows.
PREVIEW_SPEND_USD = 100


@dataclass(frozen=True)
class Product:
    """One product and the price of one unit of it, in US dollars."""

    id: str
    name: str
    role: str
    description: str
    unit_usd: Decimal


@dataclass(frozen=True)
class Brain:
    """Another server with an overview of its own. `token` is sent to `url` only."""

    url: str | None
    public_url: str | None
    token: SecretStr | None


@dataclass(frozen=True)
class Station:
    """The station's words, addresses, products and percentages."""

    name: str
    tagline: str
    public_url: str
    admin_url: str
    dashboard_url: str
    bonus_return_pct: Decimal
    discount_pct: Decimal
    fuel: Product
    tokens: Product
    coins: Product
    keys: Product
    brain: Brain
    public_totals: bool

    @property
    def products(self) -> tuple[Product, ...]:
        """All products, in the order of the page."""
        return self.fuel, self.tokens, self.coins, self.keys


@dataclass(frozen=True)
class Preview:
    """What a spend buys. Units and dollars are in hundredths, rounded half up; the parts add up."""

    spend_usd: int
    base_hundredths: int
    bonus_hundredths: int
    discount_hundredths: int

    @property
    def effective_hundredths(self) -> int:
        """All units."""
        return self.base_hundredths + self.bonus_hundredths


def station_of(section: StationSection, settings: Settings) -> Station:
    """The station in force."""
    home = settings.gateway_url or ""
    products = section.products
    brain = section.brain
    return Station(
        name=section.name,
        tagline=section.tagline,
        public_url=section.public_url or home + PUBLIC_PATH,
        admin_url=section.admin_url or home + ADMIN_PATH,
        dashboard_url=section.dashboard_url or home + DASHBOARD_PATH,
        bonus_return_pct=own_or_default(section.bonus_return_pct, settings.skyefuel_station_bonus_return_pct),
        discount_pct=own_or_default(section.discount_pct, settings.skyefuel_station_discount_pct),
        fuel=product(
            "fuel",
            products.fuel,
            settings.skyefuel_station_fuel_asset_name,
            settings.skyefuel_station_fuel_usd,
            role="Credit",
            description="What is bought and fills an account.",
        ),
        tokens=product(
            "tokens",
            products.tokens,
            settings.skyefuel_station_service_asset_name,
            settings.skyefuel_station_token_usd,
            role="Services",
            description="What calls and services are paid with.",
        ),
        coins=product(
            "coins",
            products.coins,
            settings.skyefuel_station_coin_asset_name,
            settings.skyefuel_station_coin_usd,
            role="Rewards",
            description="What is given for taking part.",
        ),
        keys=product(
            "keys",
            products.keys,
            settings.skyefuel_station_access_asset_name,
            settings.skyefuel_station_key_session_usd,
            role="Access",
            description="Access to the gateway by a virtual key.",
        ),
        brain=Brain(
            url=brain.url or settings.skyefuel_station_brain_url,
            public_url=brain.public_url or settings.skyefuel_station_brain_public_url,
            token=brain.token or settings.skyefuel_station_brain_admin_token,
        ),
        public_totals=section.public_totals,
    )


def own_or_default(own: Decimal | None, default: Decimal) -> Decimal:
    """A number of kaixu.yaml, which may be 0, or else the environment's."""
    return default if own is None else own


def product(
    identity: str, section: ProductSection, name: str, unit_usd: Decimal, *, role: str, description: str
) -> Product:
    """A product, with what its section does not set."""
    return Product(
        id=identity,
        name=section.name or name,
        role=section.role or role,
        description=section.description or description,
        unit_usd=own_or_default(section.unit_usd, unit_usd),
    )


def preview_of(station: Station, spend_usd: int = PREVIEW_SPEND_USD) -> Preview:
    """What `spend_usd` dollars buy: units for the spend, units on top, and what is taken off the spend."""
    base = Fraction(spend_usd) / Fraction(station.tokens.unit_usd)
    return Preview(
        spend_usd,
        hundredths(base),
        hundredths(base * Fraction(station.bonus_return_pct) / 100),
        hundredths(spend_usd * Fraction(station.discount_pct) / 100),
    )


def hundredths(amount: Fraction) -> int:
    """An amount of 0 or more in hundredths, rounded half up."""
    return (2 * 100 * amount.numerator + amount.denominator) // (2 * amount.denominator)
