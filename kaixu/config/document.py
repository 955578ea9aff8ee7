"""kaixu.yaml, as models: every section, every field, every bound."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    WithJsonSchema,
    field_validator,
)

from .database import DatabaseSection
from .price import Price, price_of, rate_nusd
from .read import Reading


def is_number(value: object) -> object:
    """Python counts with booleans; an operator does not mean that."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def in_seconds(value: object) -> object:
    """Seconds as a number, or with a unit behind it."""
    if isinstance(value, str) and (match := DURATION.fullmatch(value.strip())):
        return float(match[1]) * SECONDS[match[2]]
    if isinstance(value, str):
        raise ValueError("must be seconds, or a number with s, m, h or d behind it")
    return is_number(value)


#: A time as people write it.
DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Number = BeforeValidator(is_number)
Whole = Annotated[int, Number]
Seconds = Annotated[float, Number, Field(gt=0, le=7200)]
Dollars = Annotated[Decimal, Number]
Duration = Annotated[
    float,
    BeforeValidator(in_seconds),
    Field(gt=0, le=30 * 86_400),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{DURATION.pattern}$"}]}),
]
FieldName = Annotated[str, Field(min_length=1, max_length=200)]
#: A provider's name as replies show it. No slash: `provider/model` is read up to the first.
PublicName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x20\x7f/][^\x00-\x1f\x7f/]*$")]
PluginName = Annotated[str, Field(min_length=1, max_length=400)]


class Section(BaseModel):
    """A part of kaixu.yaml. Unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class JobsSection(Section):
    """Work that outlives its caller."""

    workers: Whole = Field(
        default=4, ge=0, le=1000, description="jobs that one process runs at one time; 0: it leaves them to others"
    )
    lease_s: Seconds = Field(
        default=60, ge=1, description="how long a job waits after its worker was heard of last, before another runs it"
    )
    attempts: Whole = Field(default=3, ge=1, le=20, description="how often a job is tried that fails")
    most_waiting: Whole = Field(
        default=10_000, ge=1, le=10_000_000, description="jobs of one customer that wait at one time; beyond it 429"
    )
    webhook_http: bool = Field(default=False, description="true: webhooks may go to http:// addresses, too")
    webhook_private: bool = Field(
        default=False, description="true: webhooks may go to private and loopback addresses, too"
    )


class GatewaySection(Section):
    """The gateway itself."""

    on_lost: Literal["release", "charge"] = Field(
        default="release", description="what a call costs whose gateway died: nothing, or all that was held"
    )
    reservation_s: Whole = Field(
        default=120, ge=2, le=3600, description="how long a hold outlives the gateway that made it"
    )
    max_in_flight: Whole = Field(default=1000, ge=1, le=100_000, description="calls at one time; beyond it 503 at once")
    max_in_flight_per_key: Whole | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="calls of one key at one time; beyond it 429 at once; default: a quarter of `max_in_flight`",
    )
    stall_s: Whole = Field(
        default=60, ge=1, le=3600, description="a reader that takes nothing of its answer for so long counts as gone"
    )
    server: Literal["hypercorn", "granian"] = Field(
        default="hypercorn",
        description="what speaks HTTP; granian is faster and needs `pip install 'kaixu[granian]'`; read at start only",
    )
    grace_s: Whole = Field(default=25, ge=0, le=600, description="how long running calls may go on after SIGTERM")
    body_limit_bytes: Whole = Field(
        default=8 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="the largest request body"
    )
    body_memory_bytes: Whole = Field(
        default=128 * 1024 * 1024,
        ge=1024,
        le=64 * 1024**3,
        description="request bodies held at one time, all together; beyond it 503 at once",
    )
    readings_per_minute: Whole = Field(
        default=1200,
        ge=120,
        le=1_000_000,
        description="what a key may read and poll a minute, beside its calls: jobs, batches, files, models, "
        "count_tokens; every 64 KiB of a body are one more",
    )
    max_vectors: Whole = Field(
        default=1_000_000,
        ge=0,
        le=10**12,
        description="vectors in a customer's collections, where it has no limit of its own",
    )
    max_collections: Whole = Field(default=1000, ge=0, le=1_000_000, description="collections of one customer")
    jobs: JobsSection = Field(default=JobsSection(), description="work that outlives its caller")
    database: DatabaseSection = Field(
        default=DatabaseSection(), description="connections to Postgres, in pools; read at start only"
    )
    max_messages: Whole = Field(default=2000, ge=1, le=100_000, description="the most messages of a chat call")
    allow_origins: list[str] = Field(
        default=[],
        max_length=200,
        description="foreign origins that browsers may call from, besides ALLOWED_ORIGINS",
    )


class Document(Section):
    """The whole file."""

    gateway: GatewaySection = Field(default=GatewaySection(), description="the gateway itself")
    lanes: dict[str, LaneSection] = Field(default={}, description="the lanes, by the provider name that clients send")
    plugins: list[PluginName] = Field(
        default=[], max_length=200, description="plugin files or folders besides those that lanes name"
    )
    integrations: dict[str, IntegrationSection] = Field(default={}, description="the integrations that are switched on")
    _reading: Reading | None = PrivateAttr(None)
    _public_name: str | None = PrivateAttr(None)

    @property
    def reading(self) -> Reading:
        """Where everything stands, for mistakes that are found later."""
        return self._reading or Reading("kaixu.yaml")

    @property
    def public_name(self) -> str | None:
        """The provider name in replies, of lanes that have no `public_name` of their own."""
        return self._public_name


def load(path: Path, environ: Mapping[str, str]) -> Document:
    """Read and check a kaixu.yaml. Raises `ConfigError` with every mistake at once."""
    from .check import check  # it needs the models above
    from .read import read_file

    document = check(read_file(path, environ), path.parent)
    document._public_name = environ.get("KAIXU_PUBLIC_PROVIDER_NAME", "").strip() or None
    return document
