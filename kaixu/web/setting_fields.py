"""The settings that an integration declares for its customers, as fields of a form, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .components import Field, FieldKind, Option
from .form_data import FormData

#: What the fields' names begin with, as the API names them in errors.
MARK = "settings."
MOST_TEXT = 20_000


class Setting(msgspec.Struct, frozen=True):
    """One setting: how it is filled in.

    `kind` "list" is a text with one value on each line, "json" any other value as JSON. `may_be_null`: empty is null.
    """

    name: str
    label: str
    hint: str
    kind: str
    type: Any
    may_be_null: bool
    options: tuple[str, ...] = ()


def settings_of(struct: type[msgspec.Struct]) -> list[Setting]:
    """The settings of a Struct, in its order."""
    described = msgspec.inspect.type_info(struct)
    assert isinstance(described, msgspec.inspect.StructType)
    types = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
    return [setting_of(field.encode_name, field.type, types[field.encode_name]) for field in described.fields]


def setting_of(name: str, described: msgspec.inspect.Type, kind: Any) -> Setting:
    """One setting."""
    schema: Mapping[str, Any] = {}
    if isinstance(described, msgspec.inspect.Metadata):
        schema, described = described.extra_json_schema or {}, described.type
    may_be_null = False
    if isinstance(described, msgspec.inspect.UnionType):
        others = [one for one in described.types if not isinstance(one, msgspec.inspect.NoneType)]
        may_be_null = len(others) < len(described.types)
        described = others[0] if len(others) == 1 else msgspec.inspect.AnyType()
        if isinstance(described, msgspec.inspect.Metadata):
            schema, described = {**(described.extra_json_schema or {}), **schema}, described.type
    options: tuple[str, ...] = ()
    match described:
        case msgspec.inspect.BoolType() if not may_be_null:
            shown = "checkbox"
        case msgspec.inspect.BoolType():
            shown, options = "select", ("true", "false")
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            shown = "number"
        case msgspec.inspect.StrType():
            shown = "text"
        case msgspec.inspect.LiteralType(values) if all(isinstance(one, str) for one in values):
            shown, options = "select", tuple(map(str, values))
        case msgspec.inspect.ListType(item_type=msgspec.inspect.StrType()):
            shown = "list"
        case _:
            shown = "json"
    label = str(schema.get("title") or name.replace("_", " ").capitalize())
    return Setting(name, label, str(schema.get("description") or ""), shown, kind, may_be_null, options)


FIELDS: Mapping[str, FieldKind] = {
    "checkbox": "checkbox",
    "select": "select",
    "number": "number",
    "text": "text",
    "list": "textarea",
    "json": "textarea",
}


def field_of(one: Setting, value: Any, *, is_own: bool) -> Field:
    """The field of a setting with its value."""
    notes = {"list": "One on each line.", "json": "As JSON."}
    empty = "Empty: none." if one.may_be_null else ""
    hints = [one.hint, notes.get(one.kind, ""), empty, "" if is_own else "The default."]
    options = [Option(text, text) for text in one.options]
    if one.kind == "select" and one.may_be_null:
        options.insert(0, Option("", "none"))
    return Field(
        name=f"{MARK}{one.name}",
        label=one.label,
        type=FIELDS[one.kind],
        value="" if one.kind == "checkbox" else text_of(one, value),
        checked=one.kind == "checkbox" and value is True,
        options=options,
        hint=" ".join(filter(None, hints)),
        wide=one.kind in ("list", "json"),
    )


def text_of(one: Setting, value: Any) -> str:
    """A value as a form has it."""
    if value is None:
        return ""
    if isinstance(value, str) and one.kind != "json":
        return value[:MOST_TEXT]
    if one.kind == "list" and isinstance(value, list):
        return "\n".join(map(str, value))[:MOST_TEXT]
    return msgspec.json.encode(value).decode()[:MOST_TEXT]


def changes_in(settings: list[Setting], shown: Mapping[str, Any], form: FormData) -> dict[str, Any]:
    """The settings that a form changes, with their new values; what cannot be read is left for the API to refuse."""
    changes = {}
    for one in settings:
        value = value_in(one, form)
        if value != shown.get(one.name) or type(value) is not type(shown.get(one.name)):
            changes[one.name] = value
    return changes


def value_in(one: Setting, form: FormData) -> Any:
    """The value of a setting in a form."""
    name = f"{MARK}{one.name}"
    if one.kind == "checkbox":
        return form.has(name)
    text = form.raw(name)
    if one.may_be_null and not text.strip():
        return None
    if one.kind == "list":
        return [line.strip() for line in text.split("\n") if line.strip()]
    try:
        if one.kind == "json":
            return msgspec.json.decode(text)
        return msgspec.to_builtins(msgspec.convert(text, one.type, strict=False))
    except (msgspec.ValidationError, msgspec.DecodeError):
        return text
