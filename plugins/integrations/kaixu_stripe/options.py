"""What operators decide: in kaixu.yaml, and for each customer."""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import Field, SecretStr, field_validator

from kaixu.plugin import Options, WireUrl

#: The least that Stripe takes in US dollars, and the most.
LEAST_CENTS = 50
MOST_CENTS = 99_999_999

#: What customers may pay at once.
LEAST_OWN_CENTS = 100
MOST_OWN_CENTS = 500_000


class StripeOptions(Options):
    """The section `stripe` of kaixu.yaml."""

    secret_key: SecretStr = Field(description="the secret key, or a restricted one: sk_… or rk_…")
    webhook_secret: SecretStr = Field(description="signs Stripe's events: whsec_…")
    previous_webhook_secret: SecretStr | None = Field(
        default=None, description="the secret before, which is valid too while it is replaced"
    )
    currency: str = Field(default="usd", description="usd; the gateway counts in US dollars")
    success_url: str | None = Field(default=None, description="an https page instead of the gateway's own after paying")
    cancel_url: str | None = Field(default=None, description="the same for a payment that was cancelled")
    product_name: str = Field(
        default="Kaixu Usage Top-up", min_length=1, max_length=200, description="on Stripe's page"
    )
    most_cents: int = Field(
        default=1_000_000,
        ge=LEAST_CENTS,
        le=MOST_CENTS,
        description="the most of one checkout by an operator, in cents",
    )
    auto_topups_per_day: int = Field(
        default=3, ge=1, le=100, description="the most automatic top-ups of a customer in a day, in UTC"
    )
    api_version: str | None = Field(
        default=None,
        pattern=r"^20\d\d-\d\d-\d\d(\.[a-z]+)?$",
        description="of Stripe's API; default: that of its library",
    )
    api_base: WireUrl = Field(default="https://api.stripe.com", description="where Stripe's API is")

    @field_validator("currency")
    @classmethod
    def only_dollars(cls, value: str) -> str:
        """Refuse other currencies: credit is in US dollars, and nobody would know the rate."""
        if value.lower() != "usd":
            raise ValueError("only usd is possible: the gateway's credit is in US dollars")
        return value.lower()

    @field_validator("previous_webhook_secret")
    @classmethod
    def none_if_empty(cls, value: SecretStr | None) -> SecretStr | None:
        """An environment variable that is not set is the empty text."""
        return value if value is not None and value.get_secret_value() else None

    @field_validator("success_url", "cancel_url")
    @classmethod
    def https_only(cls, value: str | None) -> str | None:
        """Stripe sends browsers there."""
        if value is not None and (not value.startswith("https://") or len(value) > 2000 or not value.isprintable()):
            raise ValueError("it must be an https address")
        return value

    @property
    def webhook_secrets(self) -> list[str]:
        """The secrets that are valid now."""
        secrets = (self.webhook_secret, self.previous_webhook_secret)
        return [one.get_secret_value() for one in secrets if one is not None]


class StripeCustomer(msgspec.Struct):
    """The settings of a customer."""

    stripe_customer_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    auto_topup_enabled: bool = False
    auto_topup_threshold_cents: Annotated[int, msgspec.Meta(ge=0, le=MOST_CENTS)] | None = None
    auto_topup_amount_cents: Annotated[int, msgspec.Meta(ge=LEAST_OWN_CENTS, le=MOST_OWN_CENTS)] | None = None
