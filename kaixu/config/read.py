"""Reads YAML into plain values with their positions. Stricter than YAML: no duplicate keys, anchors or tags.

PyYAML silently keeps the last of two equal keys and reads `012` as ten, `12:30:00` as seconds and
`2e-7` as text. So the values are read here, from the node tree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import yaml

from .mistakes import ConfigError, Mistake, Place
from .secret_file import SecretFileError, read_secret_file

MOST_BYTES = 1024 * 1024
MOST_DEPTH = 20
MOST_DIGITS = 30

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9_]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,2})?")
LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+(\.[0-9]*)?")
VARIABLE = re.compile(r"\$\{(?:file:([^}]*)|([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?)\}")

#: NUL and lone surrogates, which `"\0"` and `"\ud800"` can produce, cannot be stored.
UNUSABLE = re.compile("[\0\ud800-\udfff]")

Value = None | bool | int | Decimal | str | list["Value"] | dict[str, "Value"]
Path_ = tuple[str | int, ...]


@dataclass
class Reading:
    """The content of a file: its values, their positions, and the variables that are not set."""

    file: str
    value: dict[str, Value] = field(default_factory=dict, repr=False)
    places: dict[Path_, Place] = field(default_factory=dict)
    unset: dict[Path_, str] = field(default_factory=dict)
    given: set[str] = field(default_factory=set, repr=False)  # values of variables and files; may be secrets
    notes: list[str] = field(default_factory=list)  # not mistakes, but worth a look
    unread: set[Path_] = field(default_factory=set)  # paths that have a mistake already
    mistakes: list[Mistake] = field(default_factory=list)

    def place(self, path: Path_) -> Place:
        """The position of `path`, or of the nearest value around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.file, 1, 1))

    def unreadable(self, path: Path_, message: str) -> None:
        """Add a mistake for a value that cannot be read; later errors at `path` are ignored."""
        self.unread.add(path)
        self.mistake(path, message)

    def mistake(self, path: Path_, message: str) -> None:
        """Add a mistake at `path`."""
        self.mistakes.append(Mistake.at(self.place(path), message))


def read_file(path: Path, environ: Mapping[str, str], *, may_name_files: bool = True) -> Reading:
    """The values of a YAML file. `may_name_files`: whether `${file:…}` is read. Raises `ConfigError`."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        fail(Place(str(path), 1, 1), "no such file")
    except IsADirectoryError:
        fail(Place(str(path), 1, 1), "this is a folder; name the file in it")
    except OSError as error:
        fail(Place(str(path), 1, 1), f"the file cannot be read: {error.strerror}")
    if len(content) > MOST_BYTES:
        fail(Place(path.name, 1, 1), f"the file is larger than {MOST_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fail(place_of(path.name, content, error.start, b"\n"), "the file is not UTF-8")
    return read_text(text, path.name, environ, path.parent if may_name_files else None)


def read_text(text: str, file: str, environ: Mapping[str, str], folder: Path | None = Path()) -> Reading:
    """The values of a YAML text. `folder`: of relative paths in `${file:…}`; None: there must be no `${file:…}`.

    Raises `ConfigError` only if nothing can be read.
    """
    reading = Reading(file)
    try:
        root = yaml.compose(text, Loader=StrictLoader)
    except NotUsed as error:
        fail(Place(file, error.line, error.column), str(error))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
        fail(place, f"this is not YAML: {error.problem or 'it cannot be read'}{hint_for(text, place)}")
    except yaml.reader.ReaderError as error:
        fail(place_of(file, text, error.position, "\n"), "this character is not allowed here")
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML's scanner fails on numbers that are too large, as in "\UFFFFFFFF".
        fail(Place(file, 1, 1), "this is not YAML: an escape or a directive is out of range")
    if root is None:
        return reading
    value = Walk(reading, environ, folder).value(root, ())
    if isinstance(value, dict):
        reading.value = value
    elif value is not None:
        reading.mistake((), "the file must be a mapping of sections: `lanes:`, `plugins:` …")
    return reading


def fail(place: Place, message: str) -> NoReturn:
    """Raise a `ConfigError` with one mistake."""
    raise ConfigError([Mistake.at(place, message)]) from None


def place_of(file: str, text: str | bytes, position: int, newline: str | bytes) -> Place:
    """The line and column of a position in `text`."""
    before = text[:position]
    line = before.count(newline)  # type: ignore[arg-type]
    return Place(file, line + 1, position - before.rfind(newline))  # type: ignore[arg-type]


def hint_for(text: str, place: Place) -> str:
    """A hint for the usual YAML mistakes."""
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "${" in line and re.search(r"(?<!\$)[{\[]", line):
        return '; inside {…} and […] write "${NAME}" in quotes'
    if line[: place.column].lstrip(" ").startswith("\t"):
        return "; indent with spaces"
    return ""


class NotUsed(Exception):
    """A feature of YAML that is not allowed here."""

    def __init__(self, problem: str, mark: yaml.Mark) -> None:
        super().__init__(problem)
        self.line = mark.line + 1
        self.column = mark.column + 1


class StrictLoader(yaml.SafeLoader):
    """Refuses aliases, tags and deep nesting.

    Aliases can make a small file enormous, and plain text can express the same.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: yaml.Node | int | None) -> yaml.Node | None:
        """The next node. Raises `NotUsed`."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        problem = None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            problem = "anchors and aliases are not used here"
        elif getattr(event, "tag", None) is not None:
            problem = "tags are not used here"
        elif self.depth > MOST_DEPTH:
            problem = f"nested deeper than {MOST_DEPTH} levels"
        if problem is not None:
            raise NotUsed(problem, event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)  # type: ignore[arg-type]
        finally:
            self.depth -= 1


class Walk:
    """Reads the values of a node tree."""

    def __init__(self, reading: Reading, environ: Mapping[str, str], folder: Path | None) -> None:
        self.reading = reading
        self.environ = environ
        self.folder = folder

    def value(self, node: yaml.Node, path: Path_) -> Value:
        """The value of `node`; stores its position under `path`."""
        mark = node.start_mark
        assert mark is not None
        self.reading.places.setdefault(path, Place(self.reading.file, mark.line + 1, mark.column + 1))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, at)) for at, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self.scalar(node, path)

    def mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Value]:
        """A mapping with unique text keys; the position of a value is that of its key."""
        values: dict[str, Value] = {}
        for key, item in node.value:
            place = Place(self.reading.file, key.start_mark.line + 1, key.start_mark.column + 1)
            if not isinstance(key, yaml.ScalarNode) or UNUSABLE.search(str(key.value)):
                self.reading.mistakes.append(Mistake.at(place, "a key must be plain text"))
                continue
            name = str(key.value)
            if name in values:
                self.reading.mistakes.append(Mistake.at(place, f"`{name}` is written twice"))
                continue
            self.reading.places[(*path, name)] = place
            values[name] = self.value(item, (*path, name))
        return values

    def scalar(self, node: yaml.ScalarNode, path: Path_) -> Value:
        """Unquoted text becomes null, a boolean, a number or text; quoted text stays text."""
        text = str(node.value)
        if UNUSABLE.search(text):
            self.reading.unreadable(path, "this text contains a character that is not allowed")
            return None
        if node.style is not None or "${" in text:
            return self.expanded(text, path)
        if text in ("", "~", "null", "Null", "NULL"):
            return None
        if text in ("true", "True", "TRUE"):
            return True
        if text in ("false", "False", "FALSE"):
            return False
        if LEADING_ZERO.fullmatch(text):
            self.reading.unreadable(path, f"`{text[:40]}` begins with 0; remove the 0, or put it in quotes")
            return None
        if len(text) <= MOST_DIGITS:
            if INTEGER.fullmatch(text):
                return int(text.replace("_", ""))
            if DECIMAL.fullmatch(text):
                return Decimal(text.replace("_", ""))
        return text

    def expanded(self, text: str, path: Path_) -> str:
        """Replace `${NAME}`, `${NAME:-default}` and `${file:PATH}`; unset names are recorded for their section.

        An empty variable counts as unset, because shells and compose files unset variables like this.
        """

        def replace(match: re.Match[str]) -> str:
            file, name, default = match.groups()
            if file is not None:
                return self.from_file(file.strip(), path)
            if found := self.environ.get(name, ""):
                self.reading.given.add(found)
                return found
            if default is None:
                self.reading.unset.setdefault(path, name)
            return default or ""

        # The values of variables are not expanded again: they may contain "${".
        if "${" in VARIABLE.sub("", text) or any("${" in hit[0] + hit[2] for hit in VARIABLE.findall(text)):
            self.reading.unreadable(path, "write ${NAME}, ${NAME:-a default} or ${file:PATH}; they cannot be nested")
            return ""
        return VARIABLE.sub(replace, text)

    def from_file(self, name: str, path: Path_) -> str:
        """The secret in a file; a file that cannot be read is a mistake."""
        if self.folder is None:
            self.reading.unreadable(path, "${file:…} is read in kaixu.yaml only")
            return ""
        if not name:
            self.reading.unreadable(path, "${file:…} needs a path")
            return ""
        try:
            found = read_secret_file(self.folder / name)
        except SecretFileError as error:
            self.reading.unreadable(path, str(error))
            return ""
        if found.note is not None and found.note not in self.reading.notes:
            self.reading.notes.append(found.note)
        self.reading.given.add(found.text)
        return found.text
