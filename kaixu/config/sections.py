"""The sections of kaixu.yaml for lanes, their models, and integrations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
)

from .price import Price, price_of, rate_nusd
from .values import (
    Dollars,
    Duration,
    FieldName,
    Number,
    PluginName,
    PublicName,
    Seconds,
    Section,
    Whole,
)


class PluginSection(Section):
    """A section whose other fields belong to a plugin and are validated by the plugin's model."""

    model_config = ConfigDict(extra="allow", frozen=True)

    _off: str | None = PrivateAttr(None)

    @property
    def options(self) -> dict[str, Any]:
        """The fields of the plugin."""
        return dict(self.model_extra or {})

    @property
    def off(self) -> str | None:
        """Why it is switched off ("OPENAI_API_KEY is not set"), or None."""
        return self._off


@dataclass(frozen=True)
class Listed:
    """The source of rates that come from a price list."""

    name: str  # of the list, or its file
    as_of: date
    terms: str  # "list + 31 %"
    note: str | None  # the list's note about them
    image_tokens: int | None = None  # the maximum for one image


class PriceSection(Section):
    """US dollars per million tokens."""

    _listed: Listed | None = PrivateAttr(None)

    input: Dollars = Field(description="USD per million input tokens")
    output: Dollars = Field(default=Decimal(0), description="USD per million output tokens; required for chat models")
    cached_input: Dollars | None = Field(
        default=None, description="for input that the vendor reads from its cache; default: as input"
    )
    cache_write: Dollars | None = Field(
        default=None, description="for input that the vendor writes to its cache; default: as input"
    )
    reasoning: Dollars | None = Field(default=None, description="for reasoning tokens; default: as output")

    @field_validator("input", "output", "cached_input", "cache_write", "reasoning")
    @classmethod
    def is_a_rate(cls, value: Decimal | None) -> Decimal | None:
        """Whole nano-dollars per million tokens."""
        if value is not None:
            rate_nusd(value)
        return value

    def price(self) -> Price:
        """The rates in nano-dollars per million tokens, with defaults."""
        return price_of(self)

    @property
    def listed(self) -> Listed | None:
        """The price list of the rates, or None if they are in kaixu.yaml."""
        return self._listed


class DeploymentSection(Section):
    """One deployment of a model: a lane and the vendor's name of the model there."""

    lane: str | None = Field(default=None, min_length=1, max_length=80, description="the lane; default: this one")
    upstream: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="the vendor's name of the model there; default: the model's `upstream`",
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,80}$",
        description="its name in replies and usage events; default: its lane's name, numbered if there are several",
    )
    weight: Whole = Field(
        default=1, ge=1, le=1000, description="its share of the calls among deployments of the same priority"
    )
    priority: Whole = Field(
        default=0, ge=0, le=1000, description="lower values first; higher ones are tried if all lower ones fail"
    )
    cost: PriceSection | None = Field(
        default=None, description="what this vendor charges (for the margin); default: the model's `cost`"
    )


class CacheSection(Section):
    """The response cache: stored answers for the same request of the same customer."""

    ttl: Duration = Field(description="how long an answer is stored: seconds, or `10m`, `2h`, `1d`")
    any_temperature: bool = Field(default=False, description="true: also answers with another temperature than 0")


class ModelSection(Section):
    """One model of a lane; its key is the name that clients send."""

    type: Literal["chat", "embed"] = Field(description="the kind of model")
    upstream: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="the vendor's name of the model; default: the public name",
    )
    price: PriceSection | None = Field(
        default=None,
        description="what customers pay: rates, or `list + 31%` of the lane's price list; "
        "calls to a model without one are refused",
    )
    cost: PriceSection | None = Field(
        default=None,
        description="what the vendor charges (for the margin): rates, or `list`; default: `list`, if the price is",
    )
    max_output_tokens: Whole = Field(
        default=8192, ge=1, le=10_000_000, description="the maximum number of output tokens"
    )
    default_output_tokens: Whole = Field(
        default=1024, ge=1, le=10_000_000, description="`max_tokens` of calls that do not set it"
    )
    dimensions: Whole | None = Field(default=None, ge=1, le=100_000, description="the length of its vectors (embed)")
    fixed_dimensions: bool = Field(
        default=False,
        description="true: the model has only this length; do not send it to the vendor (embed)",
    )
    image_tokens: Whole | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="the maximum number of tokens of one image; default: from the price list of `price` or "
        "`cost`; if neither has it, images are refused",
    )
    allow: list[FieldName] = Field(
        default=[],
        max_length=100,
        description="fields and tools that are allowed although no rate covers them (names: docs/clients/fields.md): "
        "`service_tier`, `web_search`, …; the operator pays what they cost beyond the price",
    )
    reasoning: bool | None = Field(
        default=None,
        description="whether the model reasons (hidden thinking before the answer); default: guessed from `upstream` "
        "and the request",
    )
    tokens_per_s: Whole = Field(
        default=200,
        ge=1,
        le=100_000,
        description="the maximum speed in output tokens per second: limits what a client that leaves early pays for "
        "hidden reasoning",
    )
    aliases: list[str] = Field(default=[], max_length=50, description="other names that clients may send")
    deployments: list[DeploymentSection] = Field(
        default=[],
        max_length=20,
        description="where the model is served, if not by this lane alone; customers always pay the model's price",
    )
    fallback: list[str] = Field(
        default=[],
        max_length=20,
        description="models of other lanes, as `lane/model`, that are tried if all deployments fail",
    )
    cache: CacheSection | None = Field(
        default=None, description="stores answers for the same request of the same customer (chat)"
    )
    cached_price: PriceSection | None = Field(
        default=None, description="what customers pay for an answer from the cache; default: nothing"
    )

    @property
    def most_image_tokens(self) -> int | None:
        """The maximum number of tokens of one image, from kaixu.yaml or the price list; None: images are refused."""
        if self.image_tokens is not None:
            return self.image_tokens
        listed = [one.listed for one in (self.price, self.cost) if one is not None and one.listed is not None]
        return next((one.image_tokens for one in listed if one.image_tokens is not None), None)


class TimeoutSection(Section):
    """Time limits for the vendor, in seconds."""

    connect_s: Seconds = Field(default=10, description="to connect")
    first_byte_s: Seconds = Field(default=60, description="until the first byte of the response")
    between_bytes_s: Seconds = Field(default=60, description="between two pieces of the response")
    total_s: Seconds = Field(default=600, description="for the whole response")


class BreakerSection(Section):
    """When a failing deployment is skipped for a while; only if there is another one."""

    failures: Whole = Field(default=5, ge=1, le=1000, description="number of failures in a row")
    cool_down_s: Seconds = Field(default=15, description="how long it is skipped; then one call tries it again")


class LaneSection(PluginSection):
    """One lane; its key is the provider name that clients send. Other fields belong to the plugin."""

    plugin: PluginName = Field(description="the lane's plugin: a name (see `kaixu plugins`) or a file")
    aliases: list[str] = Field(default=[], max_length=50, description="other provider names that mean this lane")
    price_list: PluginName | None = Field(
        default=None,
        description="the price list for `list` in its models' prices: a name (see `kaixu prices list`) or a file; "
        "default: the plugin's name",
    )
    public_name: PublicName | None = Field(
        default=None,
        description="the provider name in replies instead of the lane's name; clients may send it, too. Allowlists, "
        "events and prices use the lane's name; default: KAIXU_PUBLIC_PROVIDER_NAME, if set",
    )
    required: bool = Field(default=False, description="true: the gateway does not start without it")
    unknown_fields: Literal["drop", "refuse", "pass"] = Field(
        default="drop",
        description="unknown fields of a request: `drop` them and name them in a reply header, `refuse` the "
        "request, or `pass` them on (they count towards the hold)",
    )
    known_fields: list[FieldName] = Field(
        default=[],
        max_length=200,
        description="additional fields that this vendor knows and does not charge for; they are passed on",
    )
    on_disconnect: Literal["cancel", "drain"] | None = Field(
        default=None,
        description="when a client leaves: `cancel` the vendor's call and bill a bound, or `drain` it to its end "
        "and bill exactly; default: `drain` for models that reason, `cancel` for others",
    )
    plain_answers: bool = Field(
        default=True,
        description="clients that do not stream: ask the vendor for a short answer in one piece, if the plugin can; "
        "false: always as a stream, which the gateway joins",
    )
    timeouts: TimeoutSection = Field(default=TimeoutSection(), description="time limits for the vendor")
    retries: Whole = Field(default=2, ge=0, le=10, description="additional tries before the first byte")
    breaker: BreakerSection = Field(
        default=BreakerSection(), description="when a failing deployment of this lane is skipped for a while"
    )
    preamble: str | None = Field(
        default=None,
        min_length=1,
        max_length=100_000,
        description="system text before every chat with this lane's models; customers pay for it",
    )
    batch_price_factor: Annotated[Decimal, Number, Field(ge=0, le=10)] = Field(
        default=Decimal(1), description="the price of a call in a batch as a factor: 0.5 is half"
    )
    models: dict[str, ModelSection] = Field(min_length=1, description="the models, by the names that clients send")


class IntegrationSection(PluginSection):
    """One integration. Other fields belong to the plugin."""

    plugin: PluginName | None = Field(default=None, description="its plugin; default: the section's name")
    required: bool = Field(default=False, description="true: the gateway does not start without it")
    database_url: SecretStr | None = Field(
        default=None,
        description="the database URL of its tables, with a role that the operator created; default: the gateway "
        "creates a role for it",
    )
    price: dict[str, Dollars] = Field(default={}, description="USD, by the price names of its operations and charges")
    price_versions: dict[str, dict[str, Dollars]] = Field(
        default={},
        max_length=100,
        description="other price lists for its charges by key, by name: a setting of a customer may name one "
        "(docs/plugin-authors/integrations.md); a list that was used is never changed, make a new one",
    )
    grants: list[Literal["credit", "customers", "mail"]] = Field(
        default=[],
        description="what it may do beyond its own tables: `credit` customers, find and create `customers`, send them "
        "`mail`",
    )

    @field_validator("database_url")
    @classmethod
    def is_a_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        """A URL like DATABASE_URL, with a role."""
        if value is not None and not re.match(r"postgres(ql)?://[^/]*@", value.get_secret_value()):
            raise ValueError("must be postgresql://role:password@host:port/database")
        return value

    @field_validator("price")
    @classmethod
    def are_prices(cls, value: dict[str, Decimal]) -> dict[str, Decimal]:
        """Whole nano-dollars."""
        for price in value.values():
            rate_nusd(price)
        return value

    @field_validator("price_versions")
    @classmethod
    def are_versions(cls, value: dict[str, dict[str, Decimal]]) -> dict[str, dict[str, Decimal]]:
        """Names that settings can have, and whole nano-dollars."""
        for name, prices in value.items():
            if name == "default" or not re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name):
                raise ValueError(f"{name!r:.80} cannot be the name of a price list; `default` is the list in `price`")
            for price in prices.values():
                rate_nusd(price)
        return value
