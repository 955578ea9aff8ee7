"""Validates what was read from kaixu.yaml: each section by its model, then rules across sections."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kaixu.config.document import Document
from kaixu.config.sections import IntegrationSection, LaneSection, Listed, ModelSection

from .mistakes import ConfigError, Mistake, did_you_mean
from .price_list import PriceLists
from .read import Path_, Reading
from .wording import described, mistakes_in

NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")

#: Paths of at least this length are inside an optional part of a model: its price or its cost.
INSIDE_OPTIONAL = len(("lanes", "a lane", "models", "a model", "price", "input"))


class InvalidDocument(ConfigError):
    """A kaixu.yaml with mistakes. `usable` is the usable part with every section off: plugins may find more in it."""

    def __init__(self, mistakes: Iterable[Mistake], usable: Document) -> None:
        super().__init__(mistakes)
        self.usable = usable


def check(reading: Reading, folder: Path = Path()) -> Document:
    """The validated document of a reading; `folder` is the folder of kaixu.yaml.

    Raises `InvalidDocument` with every mistake in it.
    """
    value = without_unset(reading)
    listed = take_from_lists(reading, value, folder)
    document: Document | None = None
    try:
        document = Document.model_validate(value)
    except ValidationError as error:
        reading.mistakes += mistakes_in(reading, error, Document)
    check_names(reading, value)
    check_prices(reading, value)
    check_backup_model(reading, value)
    check_mail(reading, value)
    check_alerts(reading, value)
    if reading.mistakes or document is None:
        raise InvalidDocument(reading.mistakes, usable_part(reading, value))
    document._reading = reading
    for path, variable in reading.unset.items():
        switch_off(document, path, f"{variable} is not set")
    for (_, lane, _, model, kind), source in listed.items():
        getattr(document.lanes[lane].models[model], kind)._listed = source
    return document


def check_mail(reading: Reading, value: dict[str, Any]) -> None:
    """What is to be mailed needs `mail:`."""
    if value.get("mail") is not None:
        return
    for section, field, needs in (("invoices", "mail", (True,)), ("selfservice", "mode", ("email", "approval"))):
        inside = value.get(section)
        if isinstance(inside, dict) and inside.get(field) in needs:
            reading.mistake((section, field), "this sends mails: add a section `mail:` with your SMTP server")


def usable_part(reading: Reading, value: dict[str, Any]) -> Document:
    """The usable part of a file with mistakes: its plugins and their fields. Every section is off."""
    lanes = {name: usable_lane(lane) for name, lane in entries(value.get("lanes")) if is_plugin(lane.get("plugin"))}
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


def usable_lane(lane: dict[str, Any]) -> LaneSection:
    """A lane's plugin and its fields, with the models that are valid."""
    models = {}
    for name, model in entries(lane.get("models")):
        with suppress(ValidationError):
            models[name] = ModelSection.model_validate(model)
    own = {name: inside for name, inside in lane.items() if name not in LaneSection.model_fields}
    return LaneSection.model_construct(plugin=lane["plugin"], models=models, **own)


def is_plugin(value: object) -> bool:
    """Whether the value can be a plugin's name."""
    return isinstance(value, str) and bool(value)


def without_unset(reading: Reading) -> dict[str, Any]:
    """The values without those whose variable is not set.

    In a lane or an integration an unset variable only switches the section off, so the
    rest must stay valid: a price with an unset variable is removed as a whole. Elsewhere,
    and for required values, an unset variable is a mistake.
    """
    value: dict[str, Any] = deepcopy(reading.value)
    for section in [name for name, inside in value.items() if inside is None]:
        del value[section]  # `plugins:` with nothing below it is an empty section
    for path, variable in reading.unset.items():
        if is_needed(path):
            reading.mistake(path, f"{variable} is not set; set it, or write ${{{variable}:-a default}}")
            continue
        if isinstance(path[-1], int) and is_plugins_own(path):
            put(value, path, f"${{{variable}}}")  # else the plugin would report the list as too short or missing
            continue
        if isinstance(path[-1], int) or (len(path) >= INSIDE_OPTIONAL and path[0] == "lanes"):
            path = path[:-1]
        drop(value, path)
    return value


def is_needed(path: Path_) -> bool:
    """Whether the value at `path` is required by the file or by its section."""
    if len(path) < 3 or path[0] not in ("lanes", "integrations"):
        return True
    if path[2] == "models":
        return len(path) < 5 or path[4] == "type"
    return path[2:] == ("plugin",)


def is_plugins_own(path: Path_) -> bool:
    """Whether `path` is inside a field that belongs to the plugin of a lane or an integration."""
    model = LaneSection if path[0] == "lanes" else IntegrationSection
    return path[2] not in model.model_fields


def drop(value: Any, path: Path_) -> None:
    """Remove the value at `path`, if it is there."""
    parent = parent_of(value, path)
    if isinstance(parent, dict):
        parent.pop(str(path[-1]), None)


def put(value: Any, path: Path_, text: str) -> None:
    """Write `text` to the list entry at `path`, if the list is there."""
    parent, place = parent_of(value, path), path[-1]
    if isinstance(parent, list) and isinstance(place, int):
        parent[place] = text


def parent_of(value: Any, path: Path_) -> Any:
    """The mapping or list that contains the value at `path`."""
    for part in path[:-1]:
        if isinstance(value, list) and isinstance(part, int):
            value = value[part]
        elif isinstance(value, dict):
            value = value.get(str(part))
    return value


def switch_off(document: Document, path: Path_, why: str) -> None:
    """Switch the section of `path` off."""
    sections: dict[str, LaneSection] | dict[str, IntegrationSection]
    sections = document.lanes if path[0] == "lanes" else document.integrations
    section = sections[str(path[1])]
    if section._off is None:
        section._off = why


def check_names(reading: Reading, value: dict[str, Any]) -> None:
    """Check the names of lanes and models: valid characters, and unambiguous.

    Lanes may share an alias, or use another lane's name as one; then each model under
    that name must belong to one lane only. Works on plain values, so that other
    mistakes in the file do not hide these.
    """
    lanes = entries(value.get("lanes"))
    own: dict[str, str] = {}
    under: dict[str, dict[str, str]] = {}  # provider name → model name → lane
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
    """The entries of a mapping of sections; invalid entries, which are reported elsewhere, count as empty."""
    if not isinstance(value, dict):
        return []
    return [(name, inside if isinstance(inside, dict) else {}) for name, inside in value.items()]


def names_of(at: Path_, name: str, section: dict[str, Any]) -> list[tuple[Path_, str]]:
    """A section's name and aliases, each with its path."""
    aliases = section.get("aliases")
    listed = enumerate(aliases) if isinstance(aliases, list) else ()
    return [(at, name), *(((*at, "aliases", i), alias) for i, alias in listed if isinstance(alias, str))]


def is_name(reading: Reading, at: Path_, name: str) -> bool:
    """Whether `name` is a valid name; adds a mistake if not."""
    if NAME.fullmatch(name):
        return True
    reading.mistake(at, f"`{name[:100]}` is not a name: use 1 to 80 letters, digits, dots, underscores and dashes")
    return False


def claim(reading: Reading, taken: dict[str, str], at: Path_, name: str, owner: str, key: str) -> bool:
    """Whether `name` is valid and still free; adds a mistake if not."""
    if not is_name(reading, at, name):
        return False
    if taken.setdefault(key, owner) != owner:
        reading.mistake(at, f"`{name}` already means {taken[key]}")
        return False
    return True


def take_from_lists(reading: Reading, value: dict[str, Any], folder: Path) -> dict[tuple[str, ...], Listed]:
    """Replace `price: list + 31%` and `cost: list` in `value` by rates; returns the source of each, by path.

    A price from a list also sets the cost, unless it is given. What cannot be found is
    removed with a mistake, or without one if it depends on a variable that is not set.
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


def check_alerts(reading: Reading, value: dict[str, Any]) -> None:
    """Mails about alerts need settings for mail: without them nobody would be told, and nobody would know."""
    alerts = value.get("alerts")
    if isinstance(alerts, dict) and value.get("mail") is None:
        for name in ("mail", "customers"):
            if alerts.get(name) not in (None, False, []):
                reading.mistake(("alerts", name), f"`alerts.{name}` needs the section `mail:`")


def check_prices(reading: Reading, value: dict[str, Any]) -> None:
    """A chat model's price must have `output`: without it, the more expensive half would be free."""
    for lane_name, lane in entries(value.get("lanes")):
        for model_name, model in entries(lane.get("models")):
            for kind in ("price", "cost"):
                at: Path_ = ("lanes", lane_name, "models", model_name, kind)
                rates = model.get(kind)
                if model.get("type") == "chat" and isinstance(rates, dict) and "output" not in rates:
                    reading.mistake(at, f"{described(at)} needs `output`")


def check_backup_model(reading: Reading, value: dict[str, Any]) -> None:
    """`platforms.backup_model` must name a model of this file."""
    platforms = value.get("platforms")
    reference = platforms.get("backup_model") if isinstance(platforms, dict) else None
    if not isinstance(reference, str):
        return
    known = [
        f"{lane}/{name}"
        for lane, section in entries(value.get("lanes"))
        for model_name, model in entries(section.get("models"))
        for _, name in names_of((), model_name, model)
    ]
    if reference not in known:
        shown = reference[:200]
        reading.mistake(("platforms", "backup_model"), f"no such model: `{shown}`{did_you_mean(shown, known)}")
