"""The settings that a customer has of an integration: a Struct with a default for every field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kaixu.plugin.errors import Conflict, PluginError, PluginFailed, Unprocessable

#: The most bytes of one customer's settings of one integration, as JSON.
MOST_SETTINGS_BYTES = 64 * 1024
MOST_FIELDS = 100

NUL = b"\\u0000"


def check_customer_settings(
    kind: type[msgspec.Struct] | None, unique: Sequence[str], by_customer: Sequence[str] = ()
) -> None:
    """Check what an integration declares. Raises `PluginError`."""
    if kind is None:
        for what, given in (("unique", unique), ("by_customer", by_customer)):
            if given:
                raise PluginError(f"`{what}` names fields of `customer`, which is not declared")
        return
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        raise PluginError("`customer` must be a msgspec.Struct")
    fields = msgspec.structs.fields(kind)
    for field in fields:
        if field.required:
            raise PluginError(f"`customer`: `{field.name}` must have a default: new customers have no value for it")
    if len(fields) > MOST_FIELDS:
        raise PluginError(f"`customer` has more than {MOST_FIELDS} fields")
    for what, given in (("unique", unique), ("by_customer", by_customer)):
        if unknown := set(given) - {field.encode_name for field in fields}:
            raise PluginError(f"`{what}` names `{min(unknown)}`, which is not a field of `customer`")
    try:
        msgspec.json.schema(kind)
        msgspec.to_builtins(kind())
    except (TypeError, ValueError, NotImplementedError) as error:
        raise PluginError(f"`customer` must consist of types that JSON can express: {error}") from None


def setting_names(kind: type[msgspec.Struct]) -> list[str]:
    """The names of the settings, as they are stored."""
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def read_settings(kind: type[msgspec.Struct], stored: Mapping[str, Any]) -> msgspec.Struct:
    """The settings: stored values, and defaults for the others. Values that the Struct no longer has are ignored.

    Raises `PluginFailed` where a stored value is not possible any more.
    """
    names = set(setting_names(kind))
    try:
        return msgspec.convert({name: value for name, value in stored.items() if name in names}, kind)
    except msgspec.ValidationError as error:
        raise PluginFailed(
            f"a setting of this customer is not possible any more: {error}"[:300], hint="Tell your operator."
        ) from None


def shown_settings(settings: msgspec.Struct) -> dict[str, Any]:
    """The settings as JSON, with defaults."""
    return {
        field.encode_name: msgspec.to_builtins(getattr(settings, field.name))
        for field in msgspec.structs.fields(settings)
    }


def checked_changes(
    kind: type[msgspec.Struct],
    stored: Mapping[str, Any],
    changes: Mapping[str, Any],
    reset: Sequence[str] = (),
    *,
    path: str = "settings",
) -> dict[str, Any]:
    """The values of `changes` as they are stored, after a check of all settings as they will be.

    Raises `Unprocessable`, which names the field as `path.name`, or with an empty `path` as `name`.
    """
    names = set(setting_names(kind))
    for name in (*changes, *reset):
        if name not in names:
            field = named(path, str(name)[:40])
            raise Unprocessable(
                f"`{field}` is not a setting", hint=f"The settings are {', '.join(sorted(names))}.", field=field
            )
    kept = {name: value for name, value in stored.items() if name in names and name not in reset}
    try:
        settings = msgspec.convert({**kept, **changes}, kind)
        after = shown_settings(settings)
        data = msgspec.json.encode(after)
    except msgspec.ValidationError as error:
        raise refusal(error, path) from None
    except UnicodeError:
        raise Unprocessable(
            f"`{path or 'settings'}` has characters that cannot be stored", field=path or None
        ) from None
    if len(data) > MOST_SETTINGS_BYTES:
        raise Unprocessable(
            f"`{path or 'settings'}` is longer than {MOST_SETTINGS_BYTES >> 10} KiB", field=path or None
        )
    if NUL in data:
        raise unstorable(path)
    return {name: after[name] for name in changes}


def refusal(error: msgspec.ValidationError, path: str) -> Unprocessable:
    """The error for a value that is not possible."""
    message, _, place = str(error).partition(" - at `$")
    field = f"{path}{place.rstrip('`')}"[:200].lstrip(".")
    return Unprocessable(f"`{field}`: {message}"[:300], field=field)


def unstorable(path: str) -> Unprocessable:
    """The error for texts that the database cannot store."""
    return Unprocessable("a setting has characters that cannot be stored", field=path or None)


def value_conflict(field: str, path: str = "settings") -> Conflict:
    """The error for a value that another customer has."""
    return Conflict(f"another customer has this `{named(path, field)}`", field=named(path, field))


def named(path: str, name: str) -> str:
    """The full name of a setting."""
    return f"{path}.{name}" if path else name
