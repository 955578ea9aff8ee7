"""Characters that a vendor cut into two surrogates: the first half ends one document, the second begins a later one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
HIGH = re.compile("[\ud800-\udbff]$")
LOW = re.compile("^[\udc00-\udfff]")
PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
LONE = re.compile("[\ud800-\udfff]")

#: At most this many documents are held back while the second half is awaited.
MOST_WAITING = 8

#: Where a text stands in a document: the names and numbers that lead to it.
Path = tuple[object, ...]


class Place:
    """A text in a document, by what holds it."""

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
    """Puts the halves together: documents go in, and come out when they are whole, changed in place."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.open: dict[Path, Place] = {}  # texts of `waiting` that end in a first half

    def feed(self, document: Any, *, clean: bool) -> list[Any]:
        """The documents that can go on. `clean`: no text of this one can have a half character."""
        if clean and not self.waiting:
            return [document]
        places = dict(texts_in(document))
        for path, before in list(self.open.items()):
            place = places.get(path)
            if place is None or not place.text:
                continue  # it says nothing there; the next one may
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
        """What waits, with a replacement for every half that was left alone."""
        for place in self.open.values():
            place.text = whole(place.text)
        ready, self.waiting, self.open = self.waiting, [], {}
        return ready


def joined(text: str) -> str:
    """Every pair of halves as its character."""
    return PAIR.sub(lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text)


def whole(text: str) -> str:
    """A text that can be sent on: pairs joined, lone halves replaced."""
    return LONE.sub(REPLACEMENT, joined(text))


def texts_in(document: Any) -> Iterator[tuple[Path, Place]]:
    """Every string value of a JSON document. Objects of a list that say their `index` are found by that."""
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
