"""Reads the input of an operation from a request: path, query, headers and body, by the operation's plan.

Every problem is an `Invalid` or `Unprocessable` that names the field. The limit of a body counts after decoding; the
exchange keeps it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from kaixu.catalog.input_plan import FieldPlan, InputPlan
from kaixu.plugin.errors import Invalid, Unprocessable

from .characters import ESCAPED_NUL, require_whole_characters
from .fields import ALL_STORED, json_object, json_value
from .request import MAX_ARGS, IncomingRequest

#: The length to which names and problems are cut in errors.
MAX_NAME = 200
MAX_PROBLEM = 300

#: A number in a text. Longer ones are not read.
NUMBER = re.compile(r"[+-]?\d{1,100}(\.\d{0,100})?")

#: What msgspec says of a field that is missing, or that there is not.
NAMED = re.compile(r"Object (?:missing required|contains unknown) field `([^`]*)`")

#: A field that was not sent.
MISSING: Any = object()


class SentValues(msgspec.Struct, frozen=True):
    """What a request has sent, by place and name.

    `is_alias`: it came to an alias, which has no parameters. What is one in the path comes from the body or the query.
    """

    body: Mapping[str, Any]
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    path: Mapping[str, str]
    raw: bytes
    is_alias: bool

    def find(self, field: FieldPlan) -> Any:
        """The value under the first of a field's names that has one, or `MISSING`. Null counts only where allowed."""
        found = MISSING
        for name in field.names:
            value = self.get(field, name)
            if value is not MISSING and value is not None:
                return value
            if value is None and field.may_be_null:
                found = None
        return found

    def get(self, field: FieldPlan, name: str) -> Any:
        """The value under one name."""
        match field.place:
            case "body":
                return self.body.get(name, MISSING)
            case "query":
                values = self.query.get(name)
                return MISSING if not values else values if field.is_list else values[0]
            case "header":
                return self.headers.get(name, MISSING)
            case "path":
                if name in self.path or not self.is_alias:
                    return self.path.get(name, MISSING)
                values = self.query.get(name) or [MISSING]
                return self.body.get(name, values[0])
            case "raw":
                return self.raw


def read_input(plan: InputPlan, request: IncomingRequest, *, further: Collection[str] = ()) -> msgspec.Struct:
    """The input of an operation. `further`: names in the body that are no fields of it, but may be sent.

    Raises `Invalid`, `Unprocessable`.
    """
    if plan.fields is None:
        return read_whole(plan.body, request.body, further)
    body = {} if plan.has_raw_body or request.method == "GET" else read_body_object(request.body)
    is_alias = bool(plan.parameters) and not request.parameters
    sent = SentValues(body, query_values(request.query), request.headers, request.parameters, request.body, is_alias)
    values: dict[str, Any] = {}
    for field in plan.fields:
        value = read_field(field, sent)
        if value is not MISSING:
            values[field.name] = value
    if plan.forbids_unknown:
        places = ("body", "path") if is_alias else ("body",)
        taken = {name for field in plan.fields if field.place in places for name in field.names} | {*further}
        for name in body:
            if name not in taken:
                shown = name[:MAX_NAME]
                raise Unprocessable(f"there is no field `{shown}`", field=shown)
    try:
        return plan.body(**values)
    except (ValueError, TypeError) as error:  # of the Struct's own `__post_init__`
        raise Unprocessable(str(error)[:MAX_PROBLEM] or "the input is not possible") from None


def read_body_object(data: bytes) -> dict[str, Any]:
    """The fields of the JSON body, which may be encoded twice; none of an empty body."""
    return json_object(data, free=ALL_STORED) if data.strip() else {}


def read_whole(kind: type[msgspec.Struct], data: bytes, further: Collection[str]) -> msgspec.Struct:
    """The JSON body as a whole. Raises `Invalid`, or `Unprocessable` with the field's path."""
    if ESCAPED_NUL in data:
        json_object(data, free=ALL_STORED)  # the database cannot store a NUL
    if data.lstrip()[:1] == b'"':  # some clients encode it twice
        inner = json_value(data)
        data = inner.encode() if isinstance(inner, str) else data
    try:
        if further and kind.__struct_config__.forbid_unknown_fields:
            fields = read_body_object(data)
            return msgspec.convert({name: value for name, value in fields.items() if name not in further}, kind)
        return msgspec.json.decode(data or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise problem_of(error) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        require_whole_characters(data)
        raise Invalid("the body is not JSON", code="BAD_JSON") from None


def query_values(query: str) -> dict[str, list[str]]:
    """All values of each field of a query, in order. Raises `Invalid` for too many."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_ARGS, errors="replace")
    except ValueError:
        raise Invalid(f"the query has more than {MAX_ARGS} fields") from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def read_field(field: FieldPlan, sent: SentValues) -> Any:
    """The value of a field, or `MISSING` where its default holds. Raises `Unprocessable`."""
    value = sent.find(field)
    shown = field.names[0]
    if field.clamp is not None:
        return read_clamped(field, value)
    if value is None:
        return None
    if value is MISSING:
        if field.is_required:
            raise missing(shown)
        return MISSING
    try:
        converted = msgspec.convert(value, field.type, strict=not field.is_lax)
    except msgspec.ValidationError as error:
        if value == "" and field.place != "path":  # `?limit=` does not send a number
            if field.is_required:
                raise missing(shown) from None
            return MISSING
        raise problem_of(error, shown) from None
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise Unprocessable(f"`{shown}` cannot be read", field=shown) from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise Unprocessable(f"`{shown}` must be a finite number", field=shown)
    return converted


def missing(name: str) -> Unprocessable:
    """The error for a field that must be sent."""
    return Unprocessable(f"`{name}` is missing", field=name)


def read_clamped(field: FieldPlan, value: Any) -> float:
    """A number, moved into its bounds. Raises `Unprocessable` for what is no number."""
    clamp, shown = field.clamp, field.names[0]
    assert clamp is not None
    if value is MISSING or value is None or value == "":
        return clamp.default
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        text = value.strip()
        value = float(text) if "." in text else int(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise Unprocessable(f"`{shown}` must be a number", field=shown)
    bounded = min(clamp.most, max(clamp.least, value))
    try:
        return msgspec.convert(bounded, field.type, strict=False)  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        raise Unprocessable(f"`{shown}` must be a whole number", field=shown) from None


def problem_of(error: msgspec.ValidationError, name: str = "") -> Unprocessable:
    """The error for what msgspec refuses, with the path of the field below `name`."""
    message, _, path = str(error).partition(" - at `$")
    field = (name + path.rstrip("`")).lstrip(".")
    if (named := NAMED.match(message)) is not None:  # the path is that of its object
        field = f"{field}.{named[1]}".lstrip(".")
        return Unprocessable(message[:MAX_PROBLEM], field=field[:MAX_NAME])
    return Unprocessable(
        message[:MAX_PROBLEM] + (f": `{field[:MAX_NAME]}`" if field else ""), field=field[:MAX_NAME] or None
    )
