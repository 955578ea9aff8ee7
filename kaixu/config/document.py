"""kaixu.yaml, as models: every section, every field, every bound."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from .mistakes import ConfigError, did_you_mean
from .price import Price, rate_nusd
from .read import Path_, Reading, read_file

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
Seconds = Annotated[float, Field(gt=0, le=7200)]


class Section(BaseModel):
    """A part of kaixu.yaml. Unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PriceSection(Section):
    """US dollars per million tokens."""

    input: Decimal = Field(description="USD per million input tokens")
    output: Decimal = Field(Decimal(0), description="USD per million output tokens")
    cached_input: Decimal | None = Field(None, description="for input read from the vendor's cache; default: as input")
    cache_write: Decimal | None = Field(None, description="for input written to the vendor's cache; default: as input")
    reasoning: Decimal | None = Field(None, description="for reasoning tokens; default: as output")

    @field_validator("*")
    @classmethod
    def is_a_rate(cls, value: Decimal | None) -> Decimal | None:
        """Whole nano-dollars per million tokens."""
        if value is not None:
            rate_nusd(value)
        return value

    def price(self) -> Price:
        """The rates in nano-dollars per million tokens, defaults filled in."""

        def rate(value: Decimal | None, default: Decimal) -> int:
            return rate_nusd(default if value is None else value)

        return Price(
            input=rate_nusd(self.input),
            output=rate_nusd(self.output),
            cached_input=rate(self.cached_input, self.input),
            cache_write=rate(self.cache_write, self.input),
            reasoning=rate(self.reasoning, self.output),
        )


class ModelSection(Section):
    """One model of a lane, under the name that clients send."""

    type: Literal["chat", "embed"] = Field(description="what it does")
    upstream: str | None = Field(None, min_length=1, max_length=200, description="the vendor's name for it; default: the public name")
    price: PriceSection | None = Field(None, description="what customers pay; a model without one is refused")
    cost: PriceSection | None = Field(None, description="what the vendor charges; optional, for the margin")
    max_output_tokens: int = Field(8192, ge=1, le=10_000_000, description="the most output tokens a call may ask for")
    dimensions: int | None = Field(None, ge=1, le=100_000, description="length of its vectors (embed)")
    image_tokens: int | None = Field(None, ge=1, le=1_000_000, description="the most tokens one image can cost; without it images are refused")
    aliases: list[str] = Field(default_factory=list, max_length=50, description="other names that clients may send")


class TimeoutSection(Section):
    """How long the vendor may take, in seconds."""

    connect_s: Seconds = Field(10, description="to be reached")
    first_byte_s: Seconds = Field(60, description="to begin its answer")
    between_bytes_s: Seconds = Field(60, description="between two pieces of it")
    total_s: Seconds = Field(600, description="for the whole answer")


class LaneSection(Section):
    """One vendor, under the provider name that clients send; further fields are the plugin's own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    plugin: str = Field(min_length=1, max_length=400, description="the lane's plugin: a name (see `kaixu plugins`) or a file")
    aliases: list[str] = Field(default_factory=list, max_length=50, description="other provider names that mean this lane")
    required: bool = Field(False, description="true: the gateway does not start without it")
    on_disconnect: Literal["cancel", "drain"] = Field("cancel", description="when a client leaves mid-answer: end the vendor's call, or read it to its end")
    timeouts: TimeoutSection = Field(default_factory=TimeoutSection, description="how long the vendor may take")
    retries: int = Field(2, ge=0, le=10, description="further tries before the first byte")
    models: dict[str, ModelSection] = Field(min_length=1, description="the models, by the name that clients send")
    _off: str | None = PrivateAttr(None)

    @property
    def options(self) -> dict[str, Any]:
        """The fields that belong to the plugin."""
        return dict(self.model_extra or {})

    @property
    def off(self) -> str | None:
        """Why the lane is switched off, or None."""
        return self._off


class IntegrationSection(Section):
    """One integration; further fields are the plugin's own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    plugin: str | None = Field(None, min_length=1, max_length=400, description="its plugin; default: the section's name")
    required: bool = Field(False, description="true: the gateway does not start without it")
    price: dict[str, Decimal] = Field(default_factory=dict, description="USD by the names that its operations charge under")
    _off: str | None = PrivateAttr(None)

    @property
    def options(self) -> dict[str, Any]:
        """The fields that belong to the plugin."""
        return dict(self.model_extra or {})

    @property
    def off(self) -> str | None:
        """Why the integration is switched off, or None."""
        return self._off


class GatewaySection(Section):
    """The gateway itself."""

    on_lost: Literal["release", "charge"] = Field("release", description="what a call costs whose gateway died: nothing, or all that was held")
    reservation_s: int = Field(120, ge=2, le=3600, description="how long a hold outlives the gateway that made it")
    max_in_flight: int = Field(1000, ge=1, le=100_000, description="calls at one time; beyond it 503 at once")
    grace_s: int = Field(25, ge=0, le=600, description="how long running calls may go on after SIGTERM")
    body_limit_bytes: int = Field(4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="the largest request body")
    max_messages: int = Field(2000, ge=1, le=100_000, description="the most messages of a chat call")
    allow_origins: list[str] = Field(default_factory=list, max_length=200, description="foreign origins, besides ALLOWED_ORIGINS")


class Document(Section):
    """The whole file."""

    gateway: GatewaySection = Field(default_factory=GatewaySection, description="the gateway itself")
    lanes: dict[str, LaneSection] = Field(default_factory=dict, description="the lanes, by the provider name that clients send")
    plugins: list[str] = Field(default_factory=list, max_length=200, description="plugin files or folders besides those that lanes name")
    integrations: dict[str, IntegrationSection] = Field(default_factory=dict, description="the integrations that are switched on")
    _reading: Reading | None = PrivateAttr(None)

    @property
    def reading(self) -> Reading:
        """Where everything stands, for mistakes that are found later."""
        return self._reading or Reading("kaixu.yaml")


def load(path: Path, environ: Mapping[str, str]) -> Document:
    """Read and check a kaixu.yaml. Raises `ConfigError` with every mistake at once."""
    return check(read_file(path, environ))


def check(reading: Reading) -> Document:
    """The document that a reading says. Raises `ConfigError`."""
    document: Document | None = None
    try:
        document = Document.model_validate(reading.value)
    except ValidationError as error:
        note(reading, error, Document, ())
    if document is not None:
        check_names(reading, document)
    switch_off(reading, document)
    if reading.mistakes:
        raise ConfigError(reading.mistakes)
    assert document is not None
    document._reading = reading
    return document


def note(reading: Reading, error: ValidationError, model: type[BaseModel], at: Path_) -> None:
    """Turn pydantic's errors into mistakes with places; `at` is where `model`'s section stands.

    Never repeats a value: it may be a secret.
    """
    for detail in error.errors(include_url=False, include_input=False):
        path = (*at, *(part for part in detail["loc"] if part != "[key]"))
        if path in reading.unset:
            continue  # said once, as the variable that is not set
        name = f"`{path[-1]}`" if path else "the file"
        kind = detail["type"]
        if kind == "extra_forbidden":
            known = fields_at(model, path[len(at) :])
            where = f" of {described(path[:-1])}" if len(path) > 1 else ""
            message = f"{name} is not a field{where}{did_you_mean(str(path[-1]), known)}"
        elif kind == "missing":
            message = f"{described(path[:-1]) if len(path) > 1 else 'the file'} needs {name}"
        else:
            said = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
            message = f"{name}: {said[:1].lower()}{said[1:]}"
        reading.mistake(path, message)


def described(path: Path_) -> str:
    """A section by its kind and name: lane `core`, model `a` of lane `b`."""
    kinds = {"lanes": "lane", "models": "model", "integrations": "integration"}
    names = [
        f"{kinds[str(kind)]} `{name}`" for kind, name in zip(path, path[1:], strict=False) if kind in kinds
    ]
    if len(path) and path[-1] not in [name for kind, name in zip(path, path[1:], strict=False) if kind in kinds]:
        names.append(f"`{path[-1]}`")
    return " of ".join(reversed(names)) or "the file"


def fields_at(model: type[BaseModel], path: Path_) -> list[str]:
    """The names of the fields that could stand beside the last part of `path`."""
    current: Any = model
    for part in path[:-1]:
        while not (isinstance(current, type) and issubclass(current, BaseModel)):
            arguments = getattr(current, "__args__", ())
            if not arguments:
                return []
            current = arguments[-1] if len(arguments) < 2 or arguments[-1] is not type(None) else arguments[0]
            if getattr(current, "__origin__", None) is None and not isinstance(current, type):
                return []
            break
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[str(part)].annotation
    while not (isinstance(current, type) and issubclass(current, BaseModel)):
        arguments = [one for one in getattr(current, "__args__", ()) if one is not type(None) and one is not str]
        if not arguments:
            return []
        current = arguments[-1]
    return list(current.model_fields)


def check_names(reading: Reading, document: Document) -> None:
    """Names that clients send must be sendable and must mean one thing."""
    taken: dict[str, str] = {}
    for lane_name, lane in document.lanes.items():
        for at, name in [(("lanes", lane_name), lane_name)] + [
            (("lanes", lane_name, "aliases", index), alias) for index, alias in enumerate(lane.aliases)
        ]:
            claim(reading, taken, at, name, f"lane `{lane_name}`", name.lower())
        models: dict[str, str] = {}
        for model_name, model in lane.models.items():
            where: Path_ = ("lanes", lane_name, "models", model_name)
            for at, name in [(where, model_name)] + [
                ((*where, "aliases", index), alias) for index, alias in enumerate(model.aliases)
            ]:
                claim(reading, models, at, name, f"model `{model_name}`", name)


def claim(reading: Reading, taken: dict[str, str], at: Path_, name: str, owner: str, key: str) -> None:
    """Note a mistake where `name` cannot be a name, or is another's already."""
    if not NAME.fullmatch(name):
        reading.mistake(at, f"`{name[:100]}` is not a name: use 1 to 80 letters, digits, dots, underscores and dashes")
    elif taken.get(key, owner) != owner:
        reading.mistake(at, f"`{name}` already means {taken[key]}")
    else:
        taken[key] = owner


def switch_off(reading: Reading, document: Document | None) -> None:
    """A variable that is not set switches its lane or integration off; anywhere else it is a mistake."""
    for path, variable in reading.unset.items():
        section: LaneSection | IntegrationSection | None = None
        if document is not None and len(path) > 1:
            if path[0] == "lanes":
                section = document.lanes.get(str(path[1]))
            elif path[0] == "integrations":
                section = document.integrations.get(str(path[1]))
        if section is not None:
            section._off = f"{variable} is not set"
        elif not (len(path) > 1 and path[0] in ("lanes", "integrations")):
            reading.mistake(path, f"{variable} is not set; write ${{{variable}:-a default}} or set it")
