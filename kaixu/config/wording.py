"""What pydantic found, in an operator's words and with its place.

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

#: Sections that are known by a name of the operator's: lane `core`, model `a` of lane `core`.
NAMED = {"lanes": "lane", "models": "model", "integrations": "integration"}

#: By the beginning of pydantic's error type; the first that fits.
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
    """pydantic's errors as mistakes with places.

    `at` is where `model`'s section stands, `also` are fields that may stand in it
    besides the model's own. What fails because a variable
    is not set, or because there is a mistake noted for it already, is passed over.
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
    """One error in words; `known` are the fields that may stand where it is."""
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
    said = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if said.startswith("should "):
        return f"{shown} must {said.removeprefix('should ')}"
    if said.startswith("must "):
        return f"{shown} {said}"
    return f"{shown}: {said[:1].lower()}{said[1:]}"


def described(path: Path_) -> str:
    """A section by its kind and name, innermost first: `price` of model `a` of lane `core`."""
    words = []
    rest = list(path)
    while rest:
        part = rest.pop(0)
        words.append(f"{NAMED[str(part)]} `{rest.pop(0)}`" if part in NAMED and rest else f"`{part}`")
    return " of ".join(reversed(words))


def fields_at(model: type[BaseModel], path: Path_) -> list[str]:
    """The names of the fields that could stand where `path` ends."""
    current: Any = model
    for part in path[:-1]:
        if is_model(current):
            field = current.model_fields.get(str(part))
            current = field.annotation if field else None
        else:  # the name of an entry: what follows is what the mapping holds
            current = next(reversed(get_args(current)), None)
        choices = [one for one in get_args(current) if one is not NoneType]
        if len(choices) == 1 and NoneType in get_args(current):
            current = choices[0]
    return list(current.model_fields) if is_model(current) else []


def is_model(annotation: object) -> bool:
    """Whether a section is read with it."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
