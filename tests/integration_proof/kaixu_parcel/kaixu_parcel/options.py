"""What operators decide: in kaixu.yaml, and for each customer."""

from __future__ import annotations

import msgspec
from pydantic import Field, SecretStr

from kaixu.plugin import Options, WireUrl


class ParcelOptions(Options):
    carrier: WireUrl = Field("https://carrier.example.com", description="the carrier's API")
    webhook_secret: SecretStr | None = Field(default=None, min_length=16, description="signs the carrier's events")
    keep_days: int = Field(default=90, ge=1, description="how long parcels are kept")
    is_closed: bool = Field(default=False, description="takes no parcels at all")


class ParcelCustomer(msgspec.Struct):
    most_parcels: int = 3
    account: str | None = None
    freight_cap: float | None = 10.0  # USD a month
    price_list: str = ""
    warn_below_cents: int | None = None
