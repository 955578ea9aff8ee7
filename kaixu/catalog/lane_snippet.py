"""The piece of kaixu.yaml for a new lane, and what is wrong with it. Nothing is written: operators paste it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from kaixu.config.check import check
from kaixu.config.mistakes import ConfigError
from kaixu.config.read import read_text
from kaixu.plugin.errors import PluginError

from .build import Build
from .find import installed
from .load import LaneKind, Loader

#: Text that YAML reads as the same text without quotes. Numbers and words like `true` are not among it.
PLAIN = re.compile(
    r"(?!(?:true|false|null|yes|no|on|off)$)[A-Za-z_$/.][A-Za-z0-9_{}$/.+-]*(?::[A-Za-z0-9_{}$/.+-]+)*", re.I
)

#: Stands for the value of a variable while the piece is checked.
PLACEHOLDER = "placeholder-of-a-variable-0123456789"


class LaneOption(msgspec.Struct, frozen=True):
    """A field of a plugin's own. `is_secret`: it belongs in a variable, not into the file. `is_plain`: not a list."""

    name: str
    description: str
    is_secret: bool
    is_required: bool
    is_plain: bool
    default: str | None


class LanePlugin(msgspec.Struct, frozen=True):
    """A kind of lane that is installed, with its fields."""

    name: str
    options: Sequence[LaneOption]


class Snippet(msgspec.Struct, frozen=True):
    """The text, and its mistakes; without any it can be pasted."""

    yaml: str
    mistakes: Sequence[str]


def lane_kinds(folder: Path) -> dict[str, LaneKind]:
    """All installed kinds of lanes, by name. Plugins that cannot be loaded are left out: the list of plugins has them.

    Imports every installed plugin.
    """
    loader = Loader(folder)
    kinds: dict[str, LaneKind] = {}
    for name in installed():
        try:
            kinds |= loader.load(name, "lane").lanes
        except PluginError:
            continue
    return dict(sorted(kinds.items()))


def lane_plugin(name: str, kind: LaneKind) -> LanePlugin:
    """A kind of lane with its fields."""
    return LanePlugin(name, [option_of(field, info) for field, info in kind.options.model_fields.items()])


def option_of(name: str, info: FieldInfo) -> LaneOption:
    """A field of the options."""
    default = info.default if isinstance(info.default, str | int | float | bool) else None
    is_secret = SecretStr.__name__ in str(info.annotation)
    return LaneOption(
        name=name,
        description=info.description or "",
        is_secret=is_secret,
        # A key has a default in the model only so that several can replace it.
        is_required=info.is_required() or name == "api_key",
        is_plain=not any(kind in str(info.annotation) for kind in ("list[", "dict[", "tuple[", "Mapping[")),
        default=None if default is None else str(default).lower() if isinstance(default, bool) else str(default),
    )


def lane_yaml(name: str, section: Mapping[str, Any]) -> str:
    """A lane as YAML."""
    return "\n".join(["lanes:", *lines_of({name: section}, 1)]) + "\n"


def lines_of(value: Mapping[str, Any], depth: int) -> list[str]:
    """A mapping as lines; mappings that hold plain values only are written in one."""
    lines = []
    for key, inside in value.items():
        start = f"{'  ' * depth}{scalar(key)}:"
        if isinstance(inside, Mapping):
            if depth > 2 and not any(isinstance(one, Mapping) for one in inside.values()):
                lines.append(f"{start} {{{', '.join(f'{one}: {scalar(item)}' for one, item in inside.items())}}}")
            else:
                lines += [start, *lines_of(inside, depth + 1)]
        else:
            lines.append(f"{start} {scalar(inside)}")
    return lines


def scalar(value: object) -> str:
    """A plain value: text in quotes where YAML needs them, rates as they were written."""
    if isinstance(value, Rate):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    is_plain = PLAIN.fullmatch(text) and not text.startswith("${")
    return text if is_plain else msgspec.json.encode(text).decode()


class Rate(msgspec.Struct, frozen=True):
    """A number as the operator wrote it."""

    text: str


def check_snippet(text: str, lane: str, kind: LaneKind, variables: Sequence[str], folder: Path) -> list[str]:
    """What a gateway would find wrong with the piece, were the variables set. No lane is opened for it."""
    environ = dict.fromkeys(variables, PLACEHOLDER)
    try:
        document = check(read_text(text, "kaixu.yaml", environ, None), folder)
    except ConfigError as error:
        return [f"line {one.line}: {one.message}" for one in error.mistakes]
    build, section = Build(document, folder), document.lanes[lane]
    _, outcome = build.options(("lanes", lane), section, kind.options)
    build.abilities(("lanes", lane), section, kind)
    mistakes = [f"line {one.line}: {one.message}" for one in build.catalog.mistakes]
    return mistakes or ([str(outcome.reason)] if outcome.state == "failed" else [])
