"""The section `plans:` of kaixu.yaml: templates of customers' limits."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, field_validator

from .price import rate_nusd
from .values import Dollars, FieldName, Number, Section, Whole

#: What a price factor is counted in.
MILLION = 1_000_000

PlanName = Annotated[
    str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$")
]
Providers = Annotated[list[FieldName], Field(min_length=1, max_length=200)]


class PlanSection(Section):
    """A plan: what its customers have where they have no value of their own. What is left out, a plan does not set."""

    cap: Annotated[Dollars, Field(ge=0, le=1_000_000, decimal_places=2)] | None = Field(
        default=None, description="the monthly cap, in USD"
    )
    rpm: Annotated[Whole, Field(ge=0, le=10_000_000)] | None = Field(
        default=None, description="calls a minute of each key"
    )
    rpd: Annotated[Whole, Field(ge=0, le=10_000_000)] | None = Field(
        default=None, description="calls of each key in 24 hours"
    )
    tpm: Annotated[Whole, Field(ge=0, le=1_000_000_000)] | None = Field(
        default=None, description="tokens a minute of all keys of a customer together"
    )
    day_cap: Annotated[Dollars, Field(ge=0, le=1_000_000, decimal_places=2)] | None = Field(
        default=None, description="the cap of a day (UTC) of a customer, in USD"
    )
    devices: Annotated[Whole, Field(ge=0, le=100_000)] | None = Field(
        default=None, description="device seats of each key; 0: no limit"
    )
    providers: Providers | None = Field(default=None, description="the providers that may be used; `*`: all")
    models: dict[FieldName, Annotated[list[FieldName], Field(max_length=1000)]] | None = Field(
        default=None, max_length=200, description="the models that may be used, by provider; `*`: all"
    )
    vectors: Annotated[Whole, Field(ge=0, le=10**12)] | None = Field(
        default=None, description="vectors in all collections of a customer"
    )
    end_user_cap: Annotated[Dollars, Field(ge=0, le=1_000_000, decimal_places=2)] | None = Field(
        default=None, description="the monthly cap of each end user, in USD"
    )
    price_factor: Annotated[Decimal, Number, Field(ge=0, le=10, decimal_places=6)] = Field(
        default=Decimal(1), description="what the prices of all models are multiplied by, for the plan's customers"
    )

    @field_validator("providers", "models")
    @classmethod
    def in_lower_case(cls, value: Any) -> Any:
        """Names of providers are compared in lower case."""
        if isinstance(value, dict):
            lowered: dict[str, list[str]] = {}
            for provider, models in value.items():
                name = provider.strip().lower()
                lowered[name] = list(dict.fromkeys([*lowered.get(name, []), *models]))
            return lowered
        return None if value is None else list(dict.fromkeys(name.strip().lower() for name in value))

    @property
    def factor_millionths(self) -> int:
        """The price factor in millionths."""
        return int(self.price_factor * MILLION)

    def settings(self) -> dict[str, Any]:
        """What the plan sets, by column of customers and keys; money in nano-dollars."""
        listed: dict[str, Any] = {
            "monthly_cap_nusd": None if self.cap is None else rate_nusd(self.cap),
            "rpm_limit": self.rpm,
            "rpd_limit": self.rpd,
            "tpm_limit": self.tpm,
            "day_cap_nusd": None if self.day_cap is None else rate_nusd(self.day_cap),
            "max_devices_per_key": self.devices,
            "allowed_providers": self.providers,
            "allowed_models": self.models,
            "max_vectors": self.vectors,
            "end_user_cap_nusd": None if self.end_user_cap is None else rate_nusd(self.end_user_cap),
            "price_factor_millionths": None if self.price_factor == 1 else self.factor_millionths,
        }
        return {name: value for name, value in listed.items() if value is not None}
