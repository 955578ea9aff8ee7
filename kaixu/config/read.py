"""YAML → plain values with their places. Stricter than YAML: equal keys, anchors and guessed types are mistakes.

PyYAML keeps the last of two equal keys in silence and reads `012` as ten, `12:30:00` as a number of
seconds and `2e-7` as text; so the values are read here, from the node tree and its positions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import yaml

from .mistakes import ConfigError, Mistake, Place

MOST_BYTES = 1024 * 1024
MOST_DEPTH = 20
MOST_DIGITS = 30

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
DECIMAL = re.compile(r"[-+]?([0-9][0-9_]*)?\.?[0-9]+([eE][-+]?[0-9]{1,2})?")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")

Value = None | bool | int | Decimal | str | list["Value"] | dict[str, "Value"]
Path_ = tuple[str | int, ...]


@dataclass
class Reading:
    """What a file says: the values, where each stands, and which variables were asked for and not set."""

    file: str
    value: dict[str, Value] = field(default_factory=dict)
    places: dict[Path_, Place] = field(default_factory=dict)
    unset: dict[Path_, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def place(self, path: Path_) -> Place:
        """Where `path` stands, or the nearest thing around it that has a place."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, Place(self.file, 1, 1))

    def mistake(self, path: Path_, message: str) -> None:
        """Note that something is wrong at `path`."""
        self.mistakes.append(Mistake(self.place(path), message))


def read_text(text: str, file: str, environ: Mapping[str, str]) -> Reading:
    """The values of a YAML text. Raises `ConfigError` only where nothing can be read at all."""
    reading = Reading(file)
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise ConfigError([Mistake(Place(file, 1, 1), f"the file is larger than {MOST_BYTES} bytes")])
    try:
        refuse_anchors(text, file)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
        raise ConfigError([Mistake(place, f"this is not YAML: {error.problem}")]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else "a character is not allowed"
        raise ConfigError([Mistake(Place(file, 1, 1), f"this is not YAML: {reason}")]) from None
    if root is None:
        return reading
    value = Walk(reading, environ).value(root, ())
    if not isinstance(value, dict):
        raise ConfigError([Mistake(Place(file, 1, 1), "the file must be a mapping of sections")])
    reading.value = value
    return reading


def refuse_anchors(text: str, file: str) -> None:
    """An alias can make a small file enormous, and says nothing that plain text does not. Raises `ConfigError`."""
    for depth, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            mark = event.start_mark
            raise ConfigError([Mistake(Place(file, mark.line + 1, mark.column + 1), "anchors and aliases are not used here")])
        if depth > 200_000:
            raise ConfigError([Mistake(Place(file, 1, 1), "the file has too many values")])


def read_file(path: Path, environ: Mapping[str, str]) -> Reading:
    """The values of a YAML file. Raises `ConfigError`."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError([Mistake(Place(str(path), 1, 1), "there is no such file")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Mistake(Place(str(path), 1, 1), "the file is not UTF-8")]) from None
    except OSError as error:
        raise ConfigError([Mistake(Place(str(path), 1, 1), f"the file cannot be read: {error.strerror}")]) from None
    return read_text(text, path.name, environ)


class Walk:
    """One walk over a node tree."""

    def __init__(self, reading: Reading, environ: Mapping[str, str]) -> None:
        self.reading = reading
        self.environ = environ

    def value(self, node: yaml.Node, path: Path_) -> Value:
        """The value of `node`, its place noted under `path`."""
        mark = node.start_mark
        self.reading.places.setdefault(path, Place(self.reading.file, mark.line + 1, mark.column + 1))
        if len(path) > MOST_DEPTH:
            self.reading.mistake(path, f"nested deeper than {MOST_DEPTH} levels")
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, at)) for at, item in enumerate(node.value)]
        return self.scalar(node, path)

    def mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Value]:
        """Keys are text, each once; a key's place is the key's."""
        values: dict[str, Value] = {}
        for key, item in node.value:
            place = Place(self.reading.file, key.start_mark.line + 1, key.start_mark.column + 1)
            if not isinstance(key, yaml.ScalarNode):
                self.reading.mistakes.append(Mistake(place, "a key must be plain text"))
                continue
            name = str(key.value)
            if name in values:
                self.reading.mistakes.append(Mistake(place, f"`{name}` is written twice"))
                continue
            self.reading.places[(*path, name)] = place
            values[name] = self.value(item, (*path, name))
        return values

    def scalar(self, node: yaml.ScalarNode, path: Path_) -> Value:
        """Plain text is read as null, a boolean, a number or text; quoted text stays text."""
        text = str(node.value)
        if node.tag not in (
            "tag:yaml.org,2002:str", "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int",
            "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp",
        ):  # fmt: skip
            self.reading.mistake(path, f"the tag {node.tag} is not used here")
            return None
        if node.style is not None:
            return self.expanded(text, path)
        if text in ("", "~", "null", "Null", "NULL"):
            return None
        if text in ("true", "True", "TRUE"):
            return True
        if text in ("false", "False", "FALSE"):
            return False
        if "${" in text:
            return self.expanded(text, path)
        if len(text) <= MOST_DIGITS and INTEGER.fullmatch(text):
            return int(text.replace("_", ""))
        if len(text) <= MOST_DIGITS and DECIMAL.fullmatch(text) and not (text.lstrip("+-")[:1] == "0" and text.lstrip("+-").isdigit()):
            return Decimal(text.replace("_", ""))
        return text

    def expanded(self, text: str, path: Path_) -> Value:
        """`${NAME}` and `${NAME:-default}` replaced; an unset name is noted, for the section to decide what it means."""

        def replace(match: re.Match[str]) -> str:
            name, default = match.group(1), match.group(2)
            found = self.environ.get(name, "")
            if found:
                return found
            if default is not None:
                return default
            self.reading.unset[path] = name
            return ""

        return VARIABLE.sub(replace, text)
