"""Mistakes in a file with their positions, all reported together."""

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
    """One mistake and its position."""

    file: str
    line: int
    column: int
    message: str

    @classmethod
    def at(cls, place: Place, message: str) -> Mistake:
        """A mistake at `place`."""
        return cls(place.file, place.line, place.column, message)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(Exception):
    """The configuration is invalid. `mistakes` has every mistake, in order."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to `name`, ignoring case; None if none is."""
    return next(iter(nearest_of(name, known, 1)), None)


def nearest_of(name: str, known: Iterable[str], most: int) -> list[str]:
    """Up to `most` known names similar to `name`, ignoring case, the most similar first."""
    by_lower = {one.lower(): one for one in known}
    return [by_lower[near] for near in get_close_matches(name.lower(), by_lower, n=most, cutoff=0.6)]


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """ "; did you mean `…`?" with the nearest known name, or with `most` of them, or nothing."""
    *others, last = [f"`{right}`" for right in nearest_of(name, known, most)] or [""]
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?" if last else ""
