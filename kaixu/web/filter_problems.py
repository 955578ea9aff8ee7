"""Filters that the API refuses: the form again, with what is wrong at its field, and the way back."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from .api_calls import ApiFailure
from .components import Empty, Form, Link
from .formats import plain_text, sentence

#: Statuses that say that what was asked for is wrong, not that it could not be done.
WRONG = (400, 422)


def marked(form: Form, failure: ApiFailure, names: Mapping[str, str] | None = None) -> Form:
    """The filter with what is wrong at the field at fault. `names`: the API's names of fields that are others here.

    Raises the failure again if it is about something else.
    """
    if failure.status not in WRONG:
        raise failure
    at = (names or {}).get(failure.field, failure.field)
    text = f"{sentence(failure.message)} {plain_text(failure.hint)}".strip()
    fields = [replace(field, problem=text if field.name == at else "") for field in form.fields]
    is_found = any(field.name == at for field in form.fields)
    return replace(form, fields=fields, problem="Please correct the marked filter." if is_found else text)


def nothing_fits(path: str) -> Empty:
    """What a table shows when its filter was refused."""
    return Empty(text="This filter cannot be applied: nothing was looked up.", link=Link("Remove the filters", path))
