"""Parsers for the fields of accounts, from JSON or the command line: each checks and normalises one value.

Each takes a raw value and the field's name. Raises `Unprocessable` naming the field.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Any

import msgspec

from kaixu.config import names as plain
from kaixu.config.alerts_section import MOST_THRESHOLDS
from kaixu.config.mistakes import did_you_mean
from kaixu.config.price import nusd_of_cents
from kaixu.plugin.errors import Invalid, Unprocessable

MOST_CENTS = 1_000_000_000
MOST_CALLS = 10_000_000
MOST_TOKENS = 1_000_000_000
MOST_LIMITED_MODELS = 100
MOST_OVERLAP_S = 30 * 24 * 3600
MOST_IDEMPOTENCY_KEY = 200
MOST_DEVICES = 100_000
MOST_VECTORS = 10**12
MOST_LISTED = 200
MOST_MODELS = 1000
MOST_COLLECTIONS = 1000
MOST_NAME = 200
MOST_ID = 2**63 - 1
MOST_INSTALL_ID = 80
ROLES = ("viewer", "deployer", "admin", "owner")

#: Only the form is checked: something before an @, then a domain with a dot.
EMAIL = re.compile(r"[^\s@,;<>\"]{1,64}@[^\s@,;<>\"]+\.[^\s@,;<>\".]{2,63}")
UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")


def require_known(given: Mapping[str, object], known: Collection[str]) -> None:
    """Raises `Invalid` for a field that is not in `known`: a misspelt change must not be ignored."""
    for name in given:
        if name not in known:
            shown = name if name.isprintable() and len(name) <= MOST_NAME else "…"
            raise Invalid(
                f"there is no field `{shown}`{did_you_mean(shown, known)}",
                hint=f"The fields are {', '.join(sorted(known))}.",
                field=shown,
            )


def identifier(value: object, field: str) -> int:
    """The number of a row, as number or text: clients send both. Raises `Invalid` where it is missing."""
    if value is None or value == "":
        raise Invalid(f"`{field}` is missing", field=field)
    number = whole(value, field)
    if number is None or not 1 <= number <= MOST_ID:
        raise Unprocessable(f"`{field}` is not an id", field=field)
    return number


def whole(value: object, field: str) -> int | None:
    """A whole number, also as text; None for null and for blank text."""
    if isinstance(value, str):
        value = value.strip()
        if value == "":
            return None
        if not re.fullmatch(r"-?[0-9]{1,19}", value):
            raise Unprocessable(f"`{field}` must be a whole number", field=field)
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise Unprocessable(f"`{field}` must be a whole number", field=field)


def bounded(value: object, field: str, most: int, least: int = 0) -> int | None:
    """A whole number from `least` to `most`, or None."""
    number = whole(value, field)
    if number is not None and not least <= number <= most:
        raise Unprocessable(f"`{field}` must lie between {least} and {most}", field=field)
    return number


def cents(value: object, field: str) -> int | None:
    """An amount in cents, in nano-dollars; None for null."""
    number = bounded(value, field, MOST_CENTS)
    return None if number is None else nusd_of_cents(number)


def tokens(value: object, field: str) -> int | None:
    """A number of tokens a minute; None for null."""
    return bounded(value, field, MOST_TOKENS)


def calls(value: object, field: str) -> int | None:
    """A number of requests; None for null."""
    return bounded(value, field, MOST_CALLS)


def overlap(value: object, field: str) -> int | None:
    """For how many seconds a rotated key goes on; None for null."""
    return bounded(value, field, MOST_OVERLAP_S)


def flag(value: object, field: str) -> bool | None:
    """true, false or null."""
    if value is None or isinstance(value, bool):
        return value
    raise Unprocessable(f"`{field}` must be true or false", field=field)


def switch(value: object, field: str) -> bool | None:
    """The same for a query string, in which everything is text; None for null and blank."""
    words = {"true": True, "1": True, "false": False, "0": False, "": None}
    if isinstance(value, str):
        if value.strip().lower() not in words:
            raise Unprocessable(f"`{field}` must be true or false", field=field)
        return words[value.strip().lower()]
    return flag(value, field)


def text(value: object, field: str, most: int) -> str | None:
    """Text of at most `most` characters, trimmed; None for null and blank."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unprocessable(f"`{field}` must be text", field=field)
    value = value.strip()
    if len(value) > most:
        raise Unprocessable(f"`{field}` is longer than {most} characters", field=field)
    if not value.isprintable():
        raise Unprocessable(f"`{field}` holds characters that cannot be shown", field=field)
    return value or None


def install_id(value: object, field: str) -> str:
    """A device's install id; blank is the seat of calls without one. Raises `Invalid` where it is missing."""
    if value is None:
        raise Invalid(f"`{field}` is missing", field=field)
    if not isinstance(value, str):
        raise Unprocessable(f"`{field}` must be text", field=field)
    value = value.strip()
    if len(value) > MOST_INSTALL_ID or UNSTORABLE.search(value):
        raise Unprocessable(f"`{field}` is not an install id", field=field)
    return value


def email(value: object, field: str) -> str | None:
    """An address in lower case; None for null and blank."""
    address = text(value, field, 254)
    if address is None:
        return None
    if not EMAIL.fullmatch(address):
        raise Unprocessable(f"`{field}` is not an email address", field=field)
    return address.lower()


def role(value: object, field: str) -> str | None:
    """One of the four roles; None for null and blank."""
    name = text(value, field, 40)
    if name is None:
        return None
    if name.lower() not in ROLES:
        raise Unprocessable(f"`{field}` must be one of {', '.join(ROLES)}", field=field)
    return name.lower()


def month(value: object, field: str) -> date | None:
    """A month written YYYY-MM, as its first day; None for null and blank."""
    written = text(value, field, 20)
    if written is None:
        return None
    match = MONTH.fullmatch(written)
    if match is None:
        raise Unprocessable(f"`{field}` must be a month from 2000 on, written YYYY-MM", field=field)
    return date(int(match[1]), int(match[2]), 1)


def instant(value: object, field: str, zone: tzinfo = UTC) -> datetime | None:
    """A time in ISO 8601, in UTC; None for null and blank. `zone`: of times that name none."""
    written = text(value, field, 40)
    if written is None:
        return None
    try:
        moment = datetime.fromisoformat(written.replace(" ", "+"))  # a plus in a query string arrives as a space
    except ValueError:
        raise Unprocessable(
            f"`{field}` is not a time", hint="Write it like 2026-11-01T12:00:00Z.", field=field
        ) from None
    if not 2000 <= moment.year < 2100:
        raise Unprocessable(f"`{field}` lies outside of 2000 to 2099", field=field)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def thresholds(value: object, field: str) -> list[int] | None:
    """Percentages from 1 to 100, ascending, as a list or as text with commas. None for null and blank; [] is none."""
    if isinstance(value, str) and value.strip() == "[]":
        return []
    if isinstance(value, str):
        value = [] if value.strip() == "[]" else [part for part in value.split(",") if part.strip()] or None
    if value is None:
        return None
    if not isinstance(value, list):
        raise Unprocessable(f"`{field}` must be a list of percentages, like [50, 85, 100]", field=field)
    if len(value) > MOST_THRESHOLDS:
        raise Unprocessable(f"`{field}` has more than {MOST_THRESHOLDS} percentages", field=field)
    numbers = [bounded(one, field, 100, least=1) for one in value]
    return sorted({number for number in numbers if number is not None})


def names(value: object, field: str, most: int) -> list[str]:
    """Names as a list or as text with commas; each once, in the order they came."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        raise Unprocessable(f"`{field}` must be a list of names, or text with commas", field=field)
    if len(value) > most:
        raise Unprocessable(f"`{field}` names more than {most}", field=field)
    found = [text(one, field, MOST_NAME) for one in value]
    return list(dict.fromkeys(name for name in found if name is not None))


def providers(value: object, field: str) -> list[str] | None:
    """An allowlist of providers, in lower case. None (null, blank text) and an empty list allow all."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return list(dict.fromkeys(name.lower() for name in names(value, field, MOST_LISTED)))


def collections(value: object, field: str) -> list[str] | None:
    """The names of the collections that a key may use. None (null, blank text) allows all, [] none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    listed = names(value, field, MOST_COLLECTIONS)
    if any(len(name) > plain.MOST_NAME for name in listed):
        raise Unprocessable(f"`{field}` names a collection with more than {plain.MOST_NAME} characters", field=field)
    return list(dict.fromkeys(map(plain.plain_name, listed)))


def models(value: object, field: str) -> dict[str, list[str]] | None:
    """An allowlist of models: `{"provider" | "*": ["model" | "*"]}`, or that as JSON text.

    Providers come out in lower case. None (null, blank text) allows every model, `{}` none.
    """
    value = json_object(value, field, hint='Send {"provider": ["model"]}.')
    if value is None:
        return None
    if len(value) > MOST_LISTED:
        raise Unprocessable(f"`{field}` names more than {MOST_LISTED} providers", field=field)
    listed: dict[str, list[str]] = {}
    for provider, its_models in value.items():
        name = text(provider, field, MOST_NAME)
        if name is None:
            raise Unprocessable(f"`{field}` names a provider without a name", field=field)
        before = listed.get(name.lower(), [])
        listed[name.lower()] = list(dict.fromkeys(before + names(its_models, field, MOST_MODELS)))
    return listed


def json_object(value: object, field: str, *, hint: str) -> dict[Any, Any] | None:
    """An object, also as JSON text; None for null and blank text."""
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Unprocessable(f"`{field}` is not JSON", hint=hint, field=field) from None
    if value is None or isinstance(value, dict):
        return value
    raise Unprocessable(f"`{field}` must be an object", hint=hint, field=field)
