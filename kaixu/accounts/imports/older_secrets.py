"""Secrets of the gateway's older edition: `v1:iv:tag:ciphertext`, AES-256-GCM under the SHA-256 of its key."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kaixu.accounts.customers import find_customer
from kaixu.accounts.integration_secrets import SecretName, set_secret
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import Invalid, KaixuError, TooLarge
from kaixu.plugin.operation import Integration
from kaixu.store.integration_secrets import sealed_secret

MOST_BYTES = 64 * 1024 * 1024
MOST_ROWS = 200_000
MOST_CELL = 200_000

#: How the columns may be called.
CUSTOMERS = ("customer_id", "customer", "email")
TOKENS = ("token_enc", "token")

IV_BYTES = 12
TAG_BYTES = 16


class OlderSecret(msgspec.Struct, frozen=True):
    """A row: its number, the customer's id or address, the sealed token, and what may be shown of it."""

    number: int
    customer: str
    sealed: str
    meta: dict[str, Any]


class ImportedSecret(msgspec.Struct, frozen=True):
    """What became of a row: "set", "kept" (the customer has one already) or "refused", and why."""

    number: int
    customer: str
    outcome: str
    problem: str | None = None


def open_older(sealed: str, key: str) -> str:
    """The value of a sealed text. Raises `Invalid`, which does not show it."""
    version, *parts = sealed.strip().split(":")
    if version != "v1" or len(parts) != 3:
        raise Invalid("the token is not of the form v1:iv:tag:ciphertext")
    try:
        iv, tag, text = (base64.b64decode(one + "=" * (-len(one) % 4), altchars=b"-_", validate=True) for one in parts)
    except (binascii.Error, ValueError):
        raise Invalid("the token is not of the form v1:iv:tag:ciphertext") from None
    if len(iv) != IV_BYTES or len(tag) != TAG_BYTES:
        raise Invalid("the token is not of the form v1:iv:tag:ciphertext")
    try:
        return AESGCM(hashlib.sha256(key.encode()).digest()).decrypt(iv, text + tag, None).decode()
    except (InvalidTag, UnicodeDecodeError):
        raise Invalid("the token was encrypted with another key") from None


def read_rows(content: bytes, shown: Sequence[str] = ()) -> list[OlderSecret]:
    """The rows of a CSV file with a line of names, or of a JSON array of objects; columns `shown` become `meta`.

    Raises `Invalid`, `TooLarge`.
    """
    if len(content) > MOST_BYTES:
        raise TooLarge(f"the file is larger than {MOST_BYTES >> 20} MiB", hint="Split it.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("the file is not UTF-8") from None
    is_json = text.lstrip()[:1] in ("[", "{")
    rows: list[OlderSecret] = []
    for number, row in enumerate(json_rows(text) if is_json else csv_rows(text), start=1 if is_json else 2):
        if len(rows) >= MOST_ROWS:
            raise TooLarge(f"the file has more than {MOST_ROWS} rows", hint="Split it.")
        customer, sealed = cell(row, CUSTOMERS, number), cell(row, TOKENS, number)
        meta = {name: row[name] for name in shown if row.get(name) not in (None, "")}
        rows.append(OlderSecret(number, customer, sealed, meta))
    return rows


def json_rows(text: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON array. Raises `Invalid`."""
    try:
        yield from msgspec.json.decode(text, type=list[dict[str, Any]])
    except (msgspec.DecodeError, RecursionError):
        raise Invalid("the file is not a JSON array of objects") from None


def csv_rows(text: str) -> Iterator[Mapping[str, Any]]:
    """The lines of a CSV file by the names in its first line. Raises `Invalid`."""
    csv.field_size_limit(MOST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise Invalid(f"line {reader.line_num} is not CSV: {error}") from None


def cell(row: Mapping[str, Any], names: Sequence[str], number: int) -> str:
    """The value of the first of these columns that a row has. Raises `Invalid`."""
    value = next((row[name] for name in names if row.get(name) not in (None, "")), None)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise Invalid(f"row {number} has no `{names[0]}`", hint=f"Name its column {' or '.join(names)}.")
    return str(value).strip()


async def import_secrets(
    pool: asyncpg.Pool,
    sealer: Sealer,
    integration: Integration,
    name: str,
    rows: Sequence[OlderSecret],
    *,
    older_key: str,
    replace: bool,
    dry_run: bool,
    actor: str,
    request_id: str,
) -> list[ImportedSecret]:
    """Store the tokens of an older edition as the secret `name` of an integration; it may be repeated.

    A customer that has the secret already keeps it, unless `replace`. Raises `DatabaseAway`.
    """
    done = []
    for row in rows:
        shown = row.customer if row.customer.isprintable() else "…"
        try:
            value = open_older(row.sealed, older_key)
            found = await find_customer(pool, row.customer)
            secret = SecretName(found.id, integration.name, name)
            if not replace and await sealed_secret(pool, secret) is not None:
                done.append(ImportedSecret(row.number, shown[:200], "kept"))
                continue
            if not dry_run:
                await set_secret(
                    pool,
                    sealer,
                    secret,
                    value,
                    row.meta,
                    integrations=[integration],
                    actor=actor,
                    request_id=request_id,
                )
            done.append(ImportedSecret(row.number, shown[:200], "set"))
        except KaixuError as error:
            if error.status >= 500:
                raise
            done.append(ImportedSecret(row.number, shown[:200], "refused", error.message))
    return done
