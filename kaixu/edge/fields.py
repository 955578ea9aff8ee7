"""Read JSON bodies, and validate the fields of JSON objects and query strings. Errors name the field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import msgspec

from kaixu.edge.threads import run_in_thread
from kaixu.plugin.errors import Invalid, Unprocessable

from .characters import FREE_TEXT, require_storable, require_whole_characters
from .request import IncomingRequest

#: The length limit of a text field that has no limit of its own.
MAX_TEXT = 200_000

#: `free` for bodies whose texts are all stored: no field may contain a character that Postgres cannot store.
ALL_STORED: frozenset[str] = frozenset()

#: Longer numbers in a query string stay text, and are refused.
MAX_DIGITS = 9

Value = TypeVar("Value")
DECODER = msgspec.json.Decoder()


def json_object(data: bytes, *, free: frozenset[str] = FREE_TEXT) -> dict[str, Any]:
    """Parse a JSON object, whatever the content type; some clients encode it twice.

    Raises `Invalid`, also for text that cannot be stored; in the fields `free` such text is allowed.
    """
    value = json_value(data)
    if isinstance(value, str):
        data = value.encode()
        value = json_value(data)
    if not isinstance(value, dict):
        raise Invalid("the body must be a JSON object", code="BAD_JSON")
    require_storable(data, value, free=free)
    return value


def json_value(data: bytes) -> Any:
    """Parse JSON. Raises `Invalid`."""
    try:
        return DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        require_whole_characters(data)
        raise Invalid("the body is not JSON", code="BAD_JSON") from None


async def read_object(request: IncomingRequest) -> dict[str, Any]:
    """Parse a request's body as a JSON object; a large one in a thread. Raises `Invalid`."""
    return await run_in_thread(len(request.body), lambda: json_object(request.body))


def read_stored_fields(request: IncomingRequest, *, may_be_empty: bool = False) -> Fields:
    """The fields of a request's body, all of which may be stored. `may_be_empty`: an empty body means no fields.

    Raises `Invalid`.
    """
    if may_be_empty and not request.body.strip():
        return Fields({})
    return Fields(json_object(request.body, free=ALL_STORED))


def query_fields(args: Mapping[str, str], numbers: Collection[str]) -> Fields:
    """The fields of a query string; those in `numbers` that have only digits become numbers."""

    def is_number(name: str, text: str) -> bool:
        return name in numbers and text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS

    return Fields({name: int(text) if is_number(name, text) else text for name, text in args.items()})


class Fields:
    """The fields of an object, and its path in the body (`messages[3]`). A field that is null counts as not sent.

    `used`: the fields that were read, or may be ignored. Methods raise `Unprocessable` with the field's full name.
    """

    __slots__ = ("path", "used", "value")

    def __init__(self, value: dict[str, Any], path: str = "") -> None:
        self.value = value
        self.path = path
        self.used: set[str] = set()

    def name(self, field: str) -> str:
        """The field's full name."""
        return f"{self.path}.{field}" if self.path else field

    def invalid(self, field: str, problem: str) -> Unprocessable:
        """The error for a field."""
        name = self.name(field)
        return Unprocessable(f"`{name}` {problem}", field=name)

    def get(self, field: str) -> Any:
        """A field's value; the field then counts as read."""
        self.used.add(field)
        return self.value.get(field)

    def read(self, field: str, parse: Callable[[object, str], Value]) -> Value:
        """A field's value, parsed by a function of the raw value and the field's name (see `accounts/fields.py`)."""
        return parse(self.get(field), self.name(field))

    def unread(self) -> list[str]:
        """The full names of fields that were sent and not read."""
        return [self.name(field) for field, value in self.value.items() if field not in self.used and value is not None]

    def text(self, field: str, *, most: int = MAX_TEXT) -> str | None:
        """A text."""
        self.used.add(field)
        value = self.value.get(field)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.invalid(field, "must be text")
        if len(value) > most:
            raise self.invalid(field, f"is longer than {most} characters")
        return value

    def required_text(self, field: str, *, most: int = MAX_TEXT) -> str:
        """A required text."""
        value = self.text(field, most=most)
        if not value:
            raise self.invalid(field, "is missing")
        return value

    def number(self, field: str, least: float, most: float) -> float | None:
        """A number within bounds."""
        self.used.add(field)
        value = self.value.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise self.invalid(field, "must be a number")
        if not least <= value <= most:
            raise self.invalid(field, f"must lie between {least:g} and {most:g}")
        return float(value)

    def integer(self, field: str, least: int, most: int) -> int | None:
        """A whole number within bounds; 3.0 is accepted."""
        self.used.add(field)
        value = self.value.get(field)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.invalid(field, "must be a whole number")
        if not least <= value <= most:
            raise self.invalid(field, f"must lie between {least} and {most}")
        return value

    def flag(self, field: str) -> bool | None:
        """True or false."""
        self.used.add(field)
        value = self.value.get(field)
        if value is not None and not isinstance(value, bool):
            raise self.invalid(field, "must be true or false")
        return value

    def one_of(self, field: str, choices: Collection[str]) -> str | None:
        """One of the `choices`."""
        value = self.text(field)
        if value is not None and value not in choices:
            raise self.invalid(field, f"must be one of {', '.join(choices)}")
        return value

    def items(self, field: str, *, most: int) -> list[Any] | None:
        """A list."""
        self.used.add(field)
        value = self.value.get(field)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.invalid(field, "must be a list")
        if len(value) > most:
            raise self.invalid(field, f"has {len(value)} entries; at most {most} are allowed")
        return value

    def objects(self, field: str, *, most: int) -> list[Fields] | None:
        """A list of objects."""
        value = self.items(field, most=most)
        if value is None:
            return None
        for at, one in enumerate(value):
            if not isinstance(one, dict):
                raise self.invalid(f"{field}[{at}]", "must be an object")
        return [Fields(one, self.name(f"{field}[{at}]")) for at, one in enumerate(value)]

    def nested(self, field: str) -> Fields | None:
        """An object."""
        self.used.add(field)
        value = self.value.get(field)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.invalid(field, "must be an object")
        return Fields(value, self.name(field))

    def raw_object(self, field: str) -> dict[str, Any] | None:
        """An object that is passed on unchanged, for example a JSON Schema."""
        self.used.add(field)
        value = self.value.get(field)
        if value is not None and not isinstance(value, dict):
            raise self.invalid(field, "must be an object")
        return value
