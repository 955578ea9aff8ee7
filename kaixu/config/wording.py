"""Turns pydantic's errors into mistakes with positions, in words for operators.

Never repeats a value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .mistakes import Mistake, did_you_mean, nearest
from .read import Path_, Reading

#: Sections whose entries have names: lane `core`, model `a` of lane `core`.
NAMED = {"lanes": "lane", "models": "model", "integrations": "integration", "plans": "plan"}

#: By the prefix of pydantic's error type; the first match counts.
EXPECTED = {
    "model_": "must be a section with fields of its own",
    "dict_": "must be a section with fields of its own",
    "list_": "must be a list",
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "int_": "must be a whole number",
    "decimal_": "must be a number",
    "float_": "must be a number",
    "finite_number": "must be a number",
    "bool_": "must be true or false",
}


def mistakes_in(
    reading: Reading, error: ValidationError, model: type[BaseModel], at: Path_ = (), also: Iterable[str] = ()
) -> list[Mistake]:
    """pydantic's errors as mistakes with positions.

    `at` is the path of `model`'s section, `also` are fields that are allowed in it besides
    the model's own. Errors because of an unset variable, or at a path that has a mistake
    already, are skipped.
    """
    mistakes = []
    for detail in error.errors(include_url=False, include_input=False):
        path = (*at, *(part for part in detail["loc"] if part != "[key]"))
        if path not in reading.unset and path not in reading.unread:
            known = fields_at(model, path[len(at) :])
            if len(path) == len(at) + 1:
                known = [*also, *known]
            mistakes.append(Mistake.at(reading.place(path), sentence(reading, detail, path, known)))
    return mistakes


def sentence(reading: Reading, detail: ErrorDetails, path: Path_, known: list[str]) -> str:
    """One error as a sentence; `known` are the fields that are allowed there."""
    kind = detail["type"]
    name = str(path[-1]) if path else "the file"
    shown = f"entry {path[-1] + 1} of `{path[-2]}`" if path and isinstance(path[-1], int) else f"`{name}`"
    around = described(path[:-1])
    if kind == "extra_forbidden":
        return f"`{name}` is not a field{f' of {around}' if around else ''}{did_you_mean(name, known)}"
    if kind == "missing":
        beside = [str(other[-1]) for other in reading.places if other[:-1] == path[:-1] and other]
        meant = nearest(name, [other for other in beside if other not in known])
        return f"{around or 'the file'} needs `{name}`" + (f"; did you mean that by `{meant}`?" if meant else "")
    for beginning, words in EXPECTED.items():
        if kind.startswith(beginning):
            return f"{shown} {words}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if message.startswith("should "):
        return f"{shown} must {message.removeprefix('should ')}"
    if message.startswith("must "):
        return f"{shown} {message}"
    return f"{shown}: {message[:1].lower()}{message[1:]}"


def described(path: Path_) -> str:
    """A path in words, innermost first: `price` of model `a` of lane `core`."""
    words = []
    rest = list(path)
    while rest:
        part = rest.pop(0)
        words.append(f"{NAMED[str(part)]} `{rest.pop(0)}`" if part in NAMED and rest else f"`{part}`")
    return " of ".join(reversed(words))


def fields_at(model: type[BaseModel], path: Path_) -> list[str]:
    """The names of the fields that are allowed at the end of `path`."""
    current: Any = model
    for part in path[:-1]:
        if is_model(current):
            field = current.model_fields.get(str(part))
            current = field.annotation if field else None
        else:  # the name of an entry: continue with the value type of the mapping
            current = next(reversed(get_args(current)), None)
        choices = [one for one in get_args(current) if one is not NoneType]
        if len(choices) == 1 and NoneType in get_args(current):
            current = choices[0]
    return list(current.model_fields) if is_model(current) else []


def is_model(annotation: object) -> bool:
    """Whether the annotation is a pydantic model."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
