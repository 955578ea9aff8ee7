"""What is wrong with a file, and where: all of it at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, order=True)
class Place:
    """A position in a file, counted from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, order=True)
class Mistake:
    """One thing that is wrong, and where."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place.file}:{self.place.line}:{self.place.column}: {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used. `mistakes` holds everything that is wrong with it, in order."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean `…`?" with the nearest known name, or nothing."""
    near = get_close_matches(name.lower(), {one.lower(): one for one in known}, n=1, cutoff=0.6)
    if not near:
        return ""
    right = next(one for one in known if one.lower() == near[0])
    return f"; did you mean `{right}`?"
