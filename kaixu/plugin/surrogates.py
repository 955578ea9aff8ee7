"""Joins characters that a vendor cut into two surrogates: one half at the end of a document, one in a later one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
HIGH = re.compile("[\ud800-\udbff]$")
LOW = re.compile("^[\udc00-\udfff]")
PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
LONE = re.compile("[\ud800-\udfff]")

#: The most documents that wait for a second half.
MOST_WAITING = 8

#: The path of a text in a document: field names and list indexes.
Path = tuple[object, ...]


class Place:
    """A reference to a text in a document: its container and its key in it."""

    __slots__ = ("holder", "key")

    def __init__(self, holder: Any, key: Any) -> None:
        self.holder = holder
        self.key = key

    @property
    def text(self) -> str:
        """The text."""
        text = self.holder[self.key]
        assert isinstance(text, str)
        return text

    @text.setter
    def text(self, text: str) -> None:
        self.holder[self.key] = text


class Joiner:
    """Joins the halves: takes documents in order and returns them when they are complete, changed in place."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.open: dict[Path, Place] = {}  # texts of `waiting` that end with a first half

    def feed(self, document: Any, *, clean: bool) -> list[Any]:
        """The documents that are complete now. `clean`: this one cannot contain half a character."""
        if clean and not self.waiting:
            return [document]
        places = dict(texts_in(document))
        for path, before in list(self.open.items()):
            place = places.get(path)
            if place is None or not place.text:
                continue  # no text at this path; the next document may have it
            del self.open[path]
            if LOW.search(place.text):
                before.text = joined(before.text + place.text[0])
                place.text = place.text[1:]
            else:
                before.text = whole(before.text)
        for path, place in places.items():
            if HIGH.search(place.text):
                place.text = whole(place.text[:-1]) + place.text[-1]
                self.open[path] = place
            elif LONE.search(place.text):
                place.text = whole(place.text)
        self.waiting.append(document)
        if self.open and len(self.waiting) < MOST_WAITING:
            return []
        return self.rest()

    def rest(self) -> list[Any]:
        """The waiting documents, with a replacement character for every lone half."""
        for place in self.open.values():
            place.text = whole(place.text)
        ready, self.waiting, self.open = self.waiting, [], {}
        return ready


def joined(text: str) -> str:
    """Replace each surrogate pair by its character."""
    return PAIR.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)


def whole(text: str) -> str:
    """Valid text: pairs joined, lone halves replaced."""
    return LONE.sub(REPLACEMENT, joined(text))


def texts_in(document: Any) -> Iterator[tuple[Path, Place]]:
    """Every string value of a JSON document. List entries with an `index` have it as their key in the path."""
    stack: list[tuple[Path, Any]] = [((), document)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            for key in [key for key in value if LONE.search(key)]:
                value[whole(key)] = value.pop(key)
            entries = list(value.items())
        elif isinstance(value, list):
            entries = list(enumerate(value))
        else:
            continue
        for key, inner in entries:
            index = inner.get("index") if isinstance(inner, dict) and isinstance(value, list) else None
            inner_path = (*path, ("index", index) if isinstance(index, int) else key)
            if isinstance(inner, str):
                yield inner_path, Place(value, key)
            else:
                stack.append((inner_path, inner))
