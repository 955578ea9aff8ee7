"""The section `alerts:` of kaixu.yaml, and the types of alerts."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from .mail_section import MailAddress
from .price import NUSD_PER_USD
from .values import Dollars, Number, Section

AlertType = Literal[
    "CAP_WARN_CUSTOMER",
    "CAP_WARN_KEY",
    "CAP_REACHED_CUSTOMER",
    "CAP_REACHED_KEY",
    "CALLS_REFUSED_CUSTOMER",
    "CALLS_REFUSED_KEY",
    "CAP_RECOVERED_CUSTOMER",
    "CAP_RECOVERED_KEY",
    "CAP_WARN_BOOK",
    "CAP_REACHED_BOOK",
    "CAP_RECOVERED_BOOK",
    "TOPPED_UP",
    "VENDOR_DOWN",
    "VENDOR_BACK",
    "WEBHOOK_FAILING",
    "WEBHOOK_WORKS",
    "MARGIN_NEGATIVE",
    "MONTH_CLOSED",
]

Percent = Annotated[int, Number, Field(ge=1, le=100)]
ReceiverName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,40}$")]

#: Thresholds of one customer, key or gateway.
MOST_THRESHOLDS = 10


class AlertWebhookSection(Section):
    """One webhook of the operator's; its key is its name."""

    url: SecretStr = Field(description="where alerts are sent; any address is allowed")
    secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        max_length=200,
        description="the key of its signatures; default: derived from JWT_SECRET",
    )
    types: list[AlertType] = Field(default=[], max_length=50, description="only alerts of these types; default: all")

    @field_validator("url")
    @classmethod
    def is_a_url(cls, value: SecretStr) -> SecretStr:
        """http:// or https://, with a host."""
        url = value.get_secret_value()
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and len(url) <= 2000
            good = good and url.isascii() and url.isprintable() and " " not in url
        except ValueError:
            good = False
        if not good:
            raise ValueError("must be a URL with http:// or https://")
        return value


class AlertsSection(Section):
    """Who is told what."""

    thresholds: list[Percent] | None = Field(
        default=None,
        max_length=MOST_THRESHOLDS,
        description="the percentages of a month's cap at which an alert is raised, for customers and keys without "
        "their own; default: 50, CAP_WARN_PCT and 100",
    )
    webhooks: dict[ReceiverName, AlertWebhookSection] = Field(
        default={}, max_length=20, description="the operator's webhooks, by name, besides ALERT_WEBHOOK_URL"
    )
    mail: list[MailAddress] = Field(
        default=[], max_length=20, description="the operator's addresses; they get a mail for each alert"
    )
    mail_types: list[AlertType] = Field(
        default=[], max_length=50, description="only alerts of these types are mailed; default: all"
    )
    customers: bool = Field(
        default=False,
        description="true: customers get the alerts of their own caps and top-ups by mail, too, unless a customer's "
        "`alert_mail` says otherwise",
    )
    least_loss: Annotated[Dollars, Field(ge=0, le=1_000_000, decimal_places=9)] = Field(
        default=Decimal("0.01"),
        description="USD: a margin below zero is told when at least this was lost on a day with a model or a customer",
    )

    def cap_thresholds(self, warn_pct: int) -> list[int]:
        """The thresholds of customers and keys without their own; `warn_pct` is CAP_WARN_PCT."""
        return sorted({50, warn_pct, 100} if self.thresholds is None else {*self.thresholds})

    @property
    def least_loss_nusd(self) -> int:
        """The least loss in nano-dollars."""
        return int(self.least_loss * NUSD_PER_USD)
