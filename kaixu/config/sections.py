"""What kaixu.yaml says of lanes, their models, and integrations."""

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
    """A part whose further fields belong to a plugin and are checked by the plugin's own model."""

    model_config = ConfigDict(extra="allow", frozen=True)

    _off: str | None = PrivateAttr(None)

    @property
    def options(self) -> dict[str, Any]:
        """The fields that belong to the plugin."""
        return dict(self.model_extra or {})

    @property
    def off(self) -> str | None:
        """Why it is switched off ("OPENAI_API_KEY is not set"), or None."""
        return self._off


@dataclass(frozen=True)
class Listed:
    """Where rates come from that kaixu.yaml takes from a price list."""

    name: str  # of the list, or its file
    as_of: date
    terms: str  # "list + 31 %"
    note: str | None  # what the list says about them
    image_tokens: int | None = None  # the most that one image costs there


class PriceSection(Section):
    """US dollars per million tokens."""

    _listed: Listed | None = PrivateAttr(None)

    input: Dollars = Field(description="USD per million input tokens")
    output: Dollars = Field(
        default=Decimal(0), description="USD per million output tokens; a chat model cannot do without"
    )
    cached_input: Dollars | None = Field(
        default=None, description="for input that the vendor read from its cache; default: as input"
    )
    cache_write: Dollars | None = Field(
        default=None, description="for input that the vendor wrote to its cache; default: as input"
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
        """The rates in nano-dollars per million tokens, defaults filled in."""
        return price_of(self)

    @property
    def listed(self) -> Listed | None:
        """Which price list the rates come from, or None where kaixu.yaml states them itself."""
        return self._listed


class DeploymentSection(Section):
    """One place where a model is served: a lane, and the vendor's name for it there."""

    lane: str | None = Field(default=None, min_length=1, max_length=80, description="which lane; default: this one")
    upstream: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="the vendor's name for the model there; default: the model's own `upstream`",
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,80}$",
        description="what replies and usage events call it; default: its lane's name, numbered where there are several",
    )
    weight: Whole = Field(
        default=1, ge=1, le=1000, description="its share of the calls among deployments of the same priority"
    )
    priority: Whole = Field(
        default=0, ge=0, le=1000, description="lower ones first; higher ones are asked where all lower ones fail"
    )
    cost: PriceSection | None = Field(
        default=None, description="what this vendor charges, for the margin; default: the model's `cost`"
    )


class CacheSection(Section):
    """Answers that are kept for the same question of the same customer."""

    ttl: Duration = Field(description="how long an answer is kept: seconds, or `10m`, `2h`, `1d`")
    any_temperature: bool = Field(
        default=False, description="true: also answers that were made with another temperature than 0"
    )


class ModelSection(Section):
    """One model of a lane, under the name that clients send."""

    type: Literal["chat", "embed"] = Field(description="what it does")
    upstream: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="the vendor's name for it; default: the public name",
    )
    price: PriceSection | None = Field(
        default=None,
        description="what customers pay: rates, or `list + 31%` of the lane's price list; "
        "calls to a model without one are refused",
    )
    cost: PriceSection | None = Field(
        default=None,
        description="what the vendor charges, for the margin: rates, or `list`; default: `list`, if the price is",
    )
    max_output_tokens: Whole = Field(
        default=8192, ge=1, le=10_000_000, description="the most output tokens that the model can make"
    )
    default_output_tokens: Whole = Field(
        default=1024, ge=1, le=10_000_000, description="how many a call gets that does not say max_tokens"
    )
    dimensions: Whole | None = Field(default=None, ge=1, le=100_000, description="the length of its vectors (embed)")
    fixed_dimensions: bool = Field(
        default=False, description="true: the vendor's model knows one length only, and is not told it (embed)"
    )
    image_tokens: Whole | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="the most tokens that one image can cost; default: what the price list says that `price` or "
        "`cost` names; where neither says it, images are refused",
    )
    allow: list[FieldName] = Field(
        default=[],
        max_length=100,
        description="what clients may ask for though no rate covers it, by the names in docs/clients/fields.md: "
        "`service_tier`, `web_search`, …; the operator bears what it costs beyond the price",
    )
    reasoning: bool | None = Field(
        default=None,
        description="whether it thinks before it answers, unseen; default: told from its `upstream` name and from "
        "what the request asks for",
    )
    tokens_per_s: Whole = Field(
        default=200,
        ge=1,
        le=100_000,
        description="output tokens that it makes in a second at most: what a client that leaves pays for thoughts "
        "that the vendor did not tell",
    )
    aliases: list[str] = Field(default=[], max_length=50, description="other names that clients may send")
    deployments: list[DeploymentSection] = Field(
        default=[],
        max_length=20,
        description="where it is served, if not by this lane alone; customers pay the model's price, whichever answers",
    )
    fallback: list[str] = Field(
        default=[],
        max_length=20,
        description="models of other lanes, as `lane/model`, that answer where all deployments fail",
    )
    cache: CacheSection | None = Field(
        default=None, description="keeps answers for the same question of the same customer (chat)"
    )
    cached_price: PriceSection | None = Field(
        default=None, description="what customers pay for an answer out of the cache; default: nothing"
    )

    @property
    def most_image_tokens(self) -> int | None:
        """The most tokens that one image can cost, by kaixu.yaml or the price list; None: images are refused."""
        if self.image_tokens is not None:
            return self.image_tokens
        listed = [one.listed for one in (self.price, self.cost) if one is not None and one.listed is not None]
        return next((one.image_tokens for one in listed if one.image_tokens is not None), None)


class TimeoutSection(Section):
    """How long the vendor may take, in seconds."""

    connect_s: Seconds = Field(default=10, description="to be reached")
    first_byte_s: Seconds = Field(default=60, description="to begin its answer")
    between_bytes_s: Seconds = Field(default=60, description="between two pieces of it")
    total_s: Seconds = Field(default=600, description="for the whole answer")


class BreakerSection(Section):
    """When a deployment that fails is left alone for a while; only where there is another one."""

    failures: Whole = Field(default=5, ge=1, le=1000, description="so many in a row")
    cool_down_s: Seconds = Field(default=15, description="for so long; then one call tries it again")


class LaneSection(PluginSection):
    """One vendor, under the provider name that clients send; further fields are the plugin's own."""

    plugin: PluginName = Field(description="the lane's plugin: a name (see `kaixu plugins`) or a file")
    aliases: list[str] = Field(default=[], max_length=50, description="other provider names that mean this lane")
    price_list: PluginName | None = Field(
        default=None,
        description="the list that `list` means in its models' prices: a name (see `kaixu prices list`) or a file; "
        "default: the plugin's name",
    )
    public_name: PublicName | None = Field(
        default=None,
        description="the provider name in replies, instead of the lane's own; clients may send it, too. Allowlists, "
        "events and prices go by the lane's name; default: KAIXU_PUBLIC_PROVIDER_NAME, if that is set",
    )
    required: bool = Field(default=False, description="true: the gateway does not start without it")
    unknown_fields: Literal["drop", "refuse", "pass"] = Field(
        default="drop",
        description="fields of a request that the lane does not know: leave them out and say so in a reply header, "
        "refuse the request, or send them on (each counts towards the hold)",
    )
    known_fields: list[FieldName] = Field(
        default=[],
        max_length=200,
        description="further fields that this vendor knows and that cost nothing extra; they are sent on",
    )
    on_disconnect: Literal["cancel", "drain"] | None = Field(
        default=None,
        description="when a client leaves: end the vendor's answer and bill its bound, or read it to its end and bill "
        "exactly; default: `drain` for models that reason, `cancel` for others",
    )
    timeouts: TimeoutSection = Field(default=TimeoutSection(), description="how long the vendor may take")
    retries: Whole = Field(default=2, ge=0, le=10, description="further tries before the first byte")
    breaker: BreakerSection = Field(
        default=BreakerSection(), description="when a deployment of this lane that fails is left alone for a while"
    )
    preamble: str | None = Field(
        default=None,
        min_length=1,
        max_length=100_000,
        description="text that goes before every chat with this lane's models, as system text; customers pay for it",
    )
    batch_price_factor: Annotated[Decimal, Number, Field(ge=0, le=10)] = Field(
        default=Decimal(1), description="what a call in a batch costs, as a part of its price: 0.5 is half"
    )
    models: dict[str, ModelSection] = Field(min_length=1, description="the models, by the name that clients send")


class IntegrationSection(PluginSection):
    """One integration; further fields are the plugin's own."""

    plugin: PluginName | None = Field(default=None, description="its plugin; default: the section's name")
    required: bool = Field(default=False, description="true: the gateway does not start without it")
    database_url: SecretStr | None = Field(
        default=None,
        description="where its tables are, as a role that the operator has made for it; default: the gateway makes a "
        "role of its own for it",
    )
    price: dict[str, Dollars] = Field(default={}, description="USD, by the names that its operations charge under")

    @field_validator("database_url")
    @classmethod
    def is_a_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        """An address as DATABASE_URL takes it, with the role's name."""
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
