"""A reading → a document: the models' own checks, and those that look across sections."""

from __future__ import annotations

import re
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kaixu.config.document import Document
from kaixu.config.sections import IntegrationSection, LaneSection, Listed, ModelSection

from .mistakes import ConfigError
from .price_list import PriceLists
from .read import Path_, Reading
from .wording import described, mistakes_in

NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")

#: A path at least this long lies in a part of a model that can be left out as a whole: its price, its cost.
INSIDE_OPTIONAL = len(("lanes", "a lane", "models", "a model", "price", "input"))


def check(reading: Reading, folder: Path = Path()) -> Document:
    """The document that a reading says; `folder` is where kaixu.yaml lies.

    Raises `ConfigError` with every mistake in it.
    """
    value = settled(reading)
    listed = take_from_lists(reading, value, folder)
    document: Document | None = None
    try:
        document = Document.model_validate(value)
    except ValidationError as error:
        reading.mistakes += mistakes_in(reading, error, Document)
    check_names(reading, value)
    check_prices(reading, value)
    if reading.mistakes or document is None:
        raise ConfigError(reading.mistakes, rest_of(reading, value))
    document._reading = reading
    for path, variable in reading.unset.items():
        switch_off(document, path, f"{variable} is not set")
    for (_, lane, _, model, kind), source in listed.items():
        getattr(document.lanes[lane].models[model], kind)._listed = source
    return document


def rest_of(reading: Reading, value: dict[str, Any]) -> Document:
    """What can be read of a file with mistakes: the plugins it names and the fields that are theirs. All is off."""
    lanes = {name: rest_of_lane(lane) for name, lane in entries(value.get("lanes")) if is_plugin(lane.get("plugin"))}
    integrations = {}
    for name, section in entries(value.get("integrations")):
        with suppress(ValidationError):
            integrations[name] = IntegrationSection.model_validate(section)
    listed = value.get("plugins")
    plugins = [one for one in listed if is_plugin(one)] if isinstance(listed, list) else []
    document = Document.model_construct(lanes=lanes, integrations=integrations, plugins=plugins)
    document._reading = reading
    for path in (*(("lanes", name) for name in lanes), *(("integrations", name) for name in integrations)):
        switch_off(document, path, "the file has mistakes")
    return document


def rest_of_lane(lane: dict[str, Any]) -> LaneSection:
    """A lane's plugin, its fields, and those of its models that are right."""
    models = {}
    for name, model in entries(lane.get("models")):
        with suppress(ValidationError):
            models[name] = ModelSection.model_validate(model)
    own = {name: inside for name, inside in lane.items() if name not in LaneSection.model_fields}
    return LaneSection.model_construct(plugin=lane["plugin"], models=models, **own)


def is_plugin(value: object) -> bool:
    """Whether it can be a plugin's name."""
    return isinstance(value, str) and bool(value)


def settled(reading: Reading) -> dict[str, Any]:
    """The values, without those whose variable is not set.

    In a lane or an integration that only switches the section off, so what is left
    must still be readable: a price without its variable goes as a whole. Anywhere
    else, and where a section cannot do without, it is a mistake.
    """
    value: dict[str, Any] = deepcopy(reading.value)
    for section in [name for name, inside in value.items() if inside is None]:
        del value[section]  # `plugins:` with nothing below it is how an empty section looks
    for path, variable in reading.unset.items():
        if is_needed(path):
            reading.mistake(path, f"{variable} is not set; set it, or write ${{{variable}:-a default}}")
            continue
        if isinstance(path[-1], int) and is_plugins_own(path):
            put(value, path, f"${{{variable}}}")  # without it the plugin would call the list too short, or missing
            continue
        if isinstance(path[-1], int) or (len(path) >= INSIDE_OPTIONAL and path[0] == "lanes"):
            path = path[:-1]
        drop(value, path)
    return value


def is_needed(path: Path_) -> bool:
    """Whether the file, or the section around `path`, cannot be read without what stands there."""
    if len(path) < 3 or path[0] not in ("lanes", "integrations"):
        return True
    if path[2] == "models":
        return len(path) < 5 or path[4] == "type"
    return path[2:] == ("plugin",)


def is_plugins_own(path: Path_) -> bool:
    """Whether `path` stands in a field of a lane or an integration that belongs to its plugin."""
    model = LaneSection if path[0] == "lanes" else IntegrationSection
    return path[2] not in model.model_fields


def drop(value: Any, path: Path_) -> None:
    """Leave out what stands at `path`, if it is still there."""
    parent = parent_of(value, path)
    if isinstance(parent, dict):
        parent.pop(str(path[-1]), None)


def put(value: Any, path: Path_, text: str) -> None:
    """Write `text` at `path`, a place in a list, if the list is still there."""
    parent, place = parent_of(value, path), path[-1]
    if isinstance(parent, list) and isinstance(place, int):
        parent[place] = text


def parent_of(value: Any, path: Path_) -> Any:
    """The mapping or list around what stands at `path`."""
    for part in path[:-1]:
        if isinstance(value, list) and isinstance(part, int):
            value = value[part]
        elif isinstance(value, dict):
            value = value.get(str(part))
    return value


def switch_off(document: Document, path: Path_, why: str) -> None:
    """The section around `path` is off."""
    sections: dict[str, LaneSection] | dict[str, IntegrationSection]
    sections = document.lanes if path[0] == "lanes" else document.integrations
    section = sections[str(path[1])]
    if section._off is None:
        section._off = why


def check_names(reading: Reading, value: dict[str, Any]) -> None:
    """Names that clients send must be sendable and must mean one thing.

    Lanes may share an alias, or take another's name for one: then a model under
    that name must be one lane's. Works on plain values, so that a mistake elsewhere
    in the file does not hide these.
    """
    lanes = entries(value.get("lanes"))
    own: dict[str, str] = {}
    under: dict[str, dict[str, str]] = {}  # provider name → model name → whose
    for lane_name, lane in lanes:
        at: Path_ = ("lanes", lane_name)
        if not claim(reading, own, at, lane_name, f"lane `{lane_name}`", lane_name.lower()):
            continue
        aliases = names_of(at, lane_name, lane)[1:]
        providers = {lane_name.lower(), *(name.lower() for where, name in aliases if is_name(reading, where, name))}
        models: dict[str, str] = {}
        for model_name, model in entries(lane.get("models")):
            owner = f"model `{model_name}`"
            for where, name in names_of((*at, "models", model_name), model_name, model):
                claim(reading, models, where, name, owner, name)
                for provider in providers:
                    taken = under.setdefault(provider, {}).setdefault(name, lane_name)
                    if taken != lane_name:
                        reading.mistake(where, f"`{provider}/{name}` already means a model of lane `{taken}`")


def entries(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """The entries of a mapping of sections; what is not a section has been complained about already."""
    if not isinstance(value, dict):
        return []
    return [(name, inside if isinstance(inside, dict) else {}) for name, inside in value.items()]


def names_of(at: Path_, name: str, section: dict[str, Any]) -> list[tuple[Path_, str]]:
    """A section's name and its aliases, each with its path."""
    aliases = section.get("aliases")
    listed = enumerate(aliases) if isinstance(aliases, list) else ()
    return [(at, name), *(((*at, "aliases", i), alias) for i, alias in listed if isinstance(alias, str))]


def is_name(reading: Reading, at: Path_, name: str) -> bool:
    """Whether `name` can be one; a mistake is noted where it cannot."""
    if NAME.fullmatch(name):
        return True
    reading.mistake(at, f"`{name[:100]}` is not a name: use 1 to 80 letters, digits, dots, underscores and dashes")
    return False


def claim(reading: Reading, taken: dict[str, str], at: Path_, name: str, owner: str, key: str) -> bool:
    """Whether `name` can be a name and is free; a mistake is noted where not."""
    if not is_name(reading, at, name):
        return False
    if taken.setdefault(key, owner) != owner:
        reading.mistake(at, f"`{name}` already means {taken[key]}")
        return False
    return True


def take_from_lists(reading: Reading, value: dict[str, Any], folder: Path) -> dict[tuple[str, ...], Listed]:
    """Put rates where `price: list + 31%` and `cost: list` stand in `value`; by path, where they come from.

    A price from a list brings its cost along, if none is given. What cannot be had
    is left out, with a mistake; without one where a variable decides it that is not set.
    """
    lists = PriceLists(reading, folder)
    listed: dict[tuple[str, ...], Listed] = {}
    for lane_name, lane in entries(value.get("lanes")):
        for model_name, model in entries(lane.get("models")):
            at = ("lanes", lane_name, "models", model_name)
            for kind in ("price", "cost"):
                if kind == "cost" and model.get(kind) is None and (*at, "price") in listed:
                    model[kind] = "list"
                if not isinstance(model.get(kind), str) or (*at, kind) in reading.unread:
                    continue
                found = lists.rates((*at, kind), lane, model)
                if found is None:
                    del model[kind]
                else:
                    model[kind], listed[*at, kind] = found
    return listed


def check_prices(reading: Reading, value: dict[str, Any]) -> None:
    """A chat model's price says what output costs: forgetting it would give the dearer half away."""
    for lane_name, lane in entries(value.get("lanes")):
        for model_name, model in entries(lane.get("models")):
            for kind in ("price", "cost"):
                at: Path_ = ("lanes", lane_name, "models", model_name, kind)
                rates = model.get(kind)
                if model.get("type") == "chat" and isinstance(rates, dict) and "output" not in rates:
                    reading.mistake(at, f"{described(at)} needs `output`")
