"""The environment variables of the station. What kaixu.yaml sets in `station:` takes precedence."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from .station_section import BonusPercent, DiscountPercent, ProductName, UnitPrice
from .web_address import BaseAddress


class StationVariables(BaseSettings):
    """`SKYEFUEL_STATION_…`: defaults of the section `station:`."""

    skyefuel_station_bonus_return_pct: BonusPercent = Field(
        default=Decimal(23), description="percent of units that the station adds to what is bought"
    )
    skyefuel_station_discount_pct: DiscountPercent = Field(
        default=Decimal(0), description="percent of the spend that the station takes off"
    )
    skyefuel_station_fuel_usd: UnitPrice = Field(
        default=Decimal(1), description="the price of one unit of the station's fuel, in USD"
    )
    skyefuel_station_coin_usd: UnitPrice = Field(default=Decimal(1), description="the price of one coin, in USD")
    skyefuel_station_token_usd: UnitPrice = Field(
        default=Decimal(1), description="the price of one service token, in USD"
    )
    skyefuel_station_key_session_usd: UnitPrice = Field(
        default=Decimal(25), description="the price of access by one key, in USD"
    )
    skyefuel_station_service_asset_name: ProductName = Field(
        default="SkyeTokens", description="the name of service tokens"
    )
    skyefuel_station_fuel_asset_name: ProductName = Field(default="SkyeFuel", description="the name of fuel")
    skyefuel_station_coin_asset_name: ProductName = Field(default="SkyeCoins", description="the name of coins")
    skyefuel_station_access_asset_name: ProductName = Field(
        default="Kaixu Keys", description="the name of access by keys"
    )
    skyefuel_station_brain_url: BaseAddress | None = Field(
        default=None, description="another server whose overview the admin page shows beside the station's"
    )
    skyefuel_station_brain_public_url: BaseAddress | None = Field(
        default=None, description="that server's address for everybody"
    )
    skyefuel_station_brain_admin_token: SecretStr | None = Field(
        default=None, description="the token that is sent to that server, as Bearer"
    )
