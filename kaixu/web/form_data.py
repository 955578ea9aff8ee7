"""The fields of a form that a browser sent, and forms that are shown again with what was wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

import msgspec
from msgspec.structs import replace

from kaixu.plugin.errors import Unprocessable

from .api_calls import ApiFailure
from .components import Field, Form
from .formats import plain_text, sentence

#: The most fields of one form.
MAX_FIELDS = 2000

FORM = "application/x-www-form-urlencoded"

DOLLARS = re.compile(r"\$?(?=\.?[0-9])(?P<whole>[0-9]{0,12}|[0-9]{1,3}(,[0-9]{3}){1,3})(\.(?P<part>[0-9]{0,2}))?")


class Upload(msgspec.Struct, frozen=True):
    """A file that a form sent."""

    name: str
    content: bytes


class FormData(msgspec.Struct, frozen=True):
    """What a form sent: pairs, in order. A name may occur several times (ticked boxes). `files`: by field."""

    pairs: Sequence[tuple[str, str]] = ()
    files: Mapping[str, Upload] = {}

    def get(self, name: str, default: str = "") -> str:
        """The first value of a name, without spaces around it."""
        return next((value.strip() for key, value in self.pairs if key == name), default)

    def raw(self, name: str) -> str:
        """The first value as it was sent: for passwords and texts."""
        return next((value for key, value in self.pairs if key == name), "")

    def all(self, name: str) -> list[str]:
        """All values of a name."""
        return [value for key, value in self.pairs if key == name]

    def has(self, name: str) -> bool:
        """Whether the name was sent: whether a box is ticked."""
        return any(key == name for key, _ in self.pairs)

    def number(self, name: str) -> int | None:
        """A whole number; None for an empty field. Raises `Unprocessable`."""
        text = self.get(name)
        if not text:
            return None
        digits = text.removeprefix("-")
        if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
            raise Unprocessable("this must be a whole number", field=name)
        return int(text)

    def cents(self, name: str) -> int | None:
        """An amount in dollars ("20", "20.50", "1,000") as cents; None for an empty field. Raises `Unprocessable`.

        A comma separates thousands only: "20,50" is refused, and is not 2,050 dollars.
        """
        text = self.get(name)
        if not text:
            return None
        amount = DOLLARS.fullmatch(text)
        if amount is None:
            raise Unprocessable("this must be an amount in dollars, like 20 or 20.50", field=name)
        whole, part = amount["whole"].replace(",", ""), amount["part"] or ""
        return int(whole or "0") * 100 + int(part.ljust(2, "0"))


def read_form(body: bytes) -> FormData:
    """The fields of an urlencoded form. Raises `Unprocessable`."""
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except (UnicodeError, ValueError):
        raise Unprocessable("the form cannot be read") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Unprocessable("a field contains a NUL character", hint="Remove it.")
    # Browsers send lines of a text field with CR and LF.
    return FormData([(name, value.replace("\r\n", "\n")) for name, value in pairs])


def shown_again(form: Form, given: FormData, failure: ApiFailure | Unprocessable) -> Form:
    """The form with what was given, except passwords and files, and with what is wrong beside the field at fault."""
    message = f"{sentence(failure.message)} {plain_text(failure.hint)}".strip()
    names = {field.name for field in (*form.fields, *form.more)}
    at_field = failure.field if failure.field in names else ""
    fields, more = (
        [filled(field, given, message if field.name == at_field else "") for field in part]
        for part in (form.fields, form.more)
    )
    problem = "Please correct the marked field." if at_field else message
    return replace(form, fields=fields, more=more, problem=problem)


def filled_again(form: Form, given: FormData) -> Form:
    """The form with what was given, where nothing was wrong: for the next try."""
    fields, more = ([filled(field, given, "") for field in part] for part in (form.fields, form.more))
    return replace(form, fields=fields, more=more)


def filled(field: Field, given: FormData, problem: str) -> Field:
    """A field with the value that was given."""
    if field.type in ("password", "file", "hidden", "heading"):
        return replace(field, problem=problem)
    if field.type == "checkbox":
        return replace(field, checked=given.has(field.name), problem=problem)
    if field.type == "checkboxes":
        return replace(field, values=given.all(field.name), problem=problem)
    return replace(field, value=given.raw(field.name), problem=problem)
