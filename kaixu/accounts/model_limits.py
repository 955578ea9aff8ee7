"""The limits of a key for single models, as requests have them and as they are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kaixu.config.mistakes import did_you_mean
from kaixu.config.price import cents_of_nusd
from kaixu.plugin.errors import Unprocessable

from . import fields

HINT = 'Send {"provider/model": {"rpm": 10, "tpm": 20000, "day_cap_cents": 100}}.'

#: Wire name → stored name, and how it is read.
KINDS: dict[str, tuple[str, Callable[[object, str], int | None]]] = {
    "rpm": ("rpm", fields.calls),
    "tpm": ("tpm", fields.tokens),
    "day_cap_cents": ("day_cap_nusd", fields.cents),
}


def model_limits(value: object, field: str) -> dict[str, dict[str, int]] | None:
    """Limits by "provider/model", or that as JSON text; money comes out in nano-dollars. None where there are none.

    Providers come out in lower case, and a limit that is null is left out. Raises `Unprocessable`.
    """
    given = fields.json_object(value, field, hint=HINT)
    if given is None:
        return None
    if len(given) > fields.MOST_LIMITED_MODELS:
        raise Unprocessable(f"`{field}` names more than {fields.MOST_LIMITED_MODELS} models", field=field)
    limits: dict[str, dict[str, int]] = {}
    for written, its_limits in given.items():
        name = model_name(written, field)
        if name in limits:
            raise Unprocessable(f"`{field}` names `{name}` twice", field=field)
        if its_limits is None:
            continue
        if not isinstance(its_limits, dict):
            raise Unprocessable(f"`{field}`: the limits of `{name}` must be an object", hint=HINT, field=field)
        if values := limits_of_model(its_limits, field):
            limits[name] = values
    return limits or None


def model_name(written: object, field: str) -> str:
    """The name "provider/model", the provider in lower case."""
    name = fields.text(written, field, fields.MOST_NAME) or ""
    provider, slash, model = name.partition("/")
    if not slash or not provider.strip() or not model.strip() or provider != provider.strip() or model != model.strip():
        raise Unprocessable(f"`{field}`: `{name}` is not a model's name", hint="Write provider/model.", field=field)
    return f"{provider.lower()}/{model}"


def limits_of_model(given: dict[Any, Any], field: str) -> dict[str, int]:
    """The limits of one model by their stored names, without those that are null."""
    values: dict[str, int] = {}
    for kind, value in given.items():
        if kind not in KINDS:
            shown = kind if isinstance(kind, str) and kind.isprintable() and len(kind) <= fields.MOST_NAME else "…"
            raise Unprocessable(
                f"`{field}`: there is no limit `{shown}`{did_you_mean(shown, KINDS)}",
                hint=f"The limits are {', '.join(KINDS)}.",
                field=field,
            )
        stored, read = KINDS[kind]
        number = read(value, f"{field}.{kind}")
        if number is not None:
            values[stored] = number
    return values


def shown_model_limits(limits: dict[str, dict[str, int]] | None) -> dict[str, dict[str, int]] | None:
    """Stored limits as replies show them, money in cents."""
    if limits is None:
        return None
    return {
        name: {
            kind: cents_of_nusd(values[stored]) if kind == "day_cap_cents" else values[stored]
            for kind, (stored, _) in KINDS.items()
            if stored in values
        }
        for name, values in limits.items()
    }
