"""Customers' secrets at integrations, for operators: whether each is set; setting and clearing it. Never a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.ops.sealing import Sealer, about_secret
from kaixu.plugin.errors import NotFound
from kaixu.plugin.operation import Integration
from kaixu.plugin.secret import require_meta, require_value
from kaixu.store import customers
from kaixu.store import integration_secrets as store
from kaixu.store.integration_secrets import SecretName, StoredSecret
from kaixu.store.pool import database

from .customers import no_customer

__all__ = ["SecretName", "ShownSecret", "clear_secret", "held_as", "list_secrets", "set_secret"]


class ShownSecret(msgspec.Struct, frozen=True):
    """A secret that a customer has or can have. `title` None: no integration that is on declares it."""

    integration: str
    name: str
    title: str | None
    is_set: bool
    meta: dict[str, Any]
    set_at: datetime | None
    set_by: str | None


def shown_secret(stored: StoredSecret, title: str | None) -> ShownSecret:
    """A secret that is set."""
    return ShownSecret(stored.integration, stored.name, title, True, stored.meta, stored.set_at, stored.set_by)


async def list_secrets(pool: asyncpg.Pool, customer_id: int, integrations: Iterable[Integration]) -> list[ShownSecret]:
    """The secrets that the integrations declare, and those that are stored. Raises `NotFound`."""
    with database():
        if await customers.customer(pool, customer_id) is None:
            raise no_customer(customer_id)
    titles = {(one.name, secret.name): secret.title for one in integrations for secret in one.secrets}
    shown = {pair: ShownSecret(*pair, title, False, {}, None, None) for pair, title in titles.items()}
    for row in await store.secrets_of_customer(pool, customer_id):
        pair = (row.integration, row.name)
        shown[pair] = shown_secret(row, titles.get(pair))
    return [shown[pair] for pair in sorted(shown)]


async def set_secret(
    pool: asyncpg.Pool,
    sealer: Sealer,
    secret: SecretName,
    value: object,
    meta: Mapping[str, Any] | None,
    *,
    integrations: Iterable[Integration],
    actor: str,
    request_id: str,
) -> ShownSecret:
    """Store a secret that an integration declares. Raises `NotFound`, `Unprocessable`."""
    title = declared_title(secret, integrations)
    text = require_value(value, "value")
    shown = require_meta(meta or {}, text)
    sealed = sealer.seal_named(text.encode(), about_secret(secret.integration, secret.customer_id, secret.name))
    with database():
        async with pool.acquire() as connection:
            row = await store.put_secret(connection, secret, sealed, shown, actor=actor, request_id=request_id)
    return shown_secret(row, title)


def declared_title(secret: SecretName, integrations: Iterable[Integration]) -> str:
    """The title of a secret. Raises `NotFound` for one that no integration declares."""
    declared = {(one.name, own.name): own.title for one in integrations for own in one.secrets}
    title = declared.get((secret.integration, secret.name))
    if title is None:
        known = ", ".join(f"`{name}` of `{integration}`" for integration, name in sorted(declared))
        raise NotFound(
            f"no integration `{secret.integration}` that is on has a secret `{secret.name}`",
            hint=f"There are {known}." if known else "No integration that is on has secrets.",
        )
    return title


async def clear_secret(pool: asyncpg.Pool, secret: SecretName, *, actor: str, request_id: str) -> bool:
    """Remove a secret, also one of an integration that is off; whether there was one. Raises `NotFound`."""
    with database():
        if await customers.customer(pool, secret.customer_id) is None:
            raise no_customer(secret.customer_id)
        async with pool.acquire() as connection:
            return await store.clear_secret(connection, secret, actor=actor, request_id=request_id)


#: What the older edition shows of integrations, by the integration and the name of its secret.
KEPT = {("push", "token"): "has_netlify_token"}


async def held_as(
    pool: asyncpg.Pool, customer_ids: Sequence[int], integrations: Iterable[Integration]
) -> dict[int, dict[str, bool]]:
    """For each customer, whether it has the secrets that are shown in the list of customers, by `Secret.shown_as`.

    Those of the older edition's integrations are shown also while these are off, since they are kept.
    """
    shown: dict[tuple[str, str], str] = KEPT | {
        (one.name, secret.name): secret.shown_as for one in integrations for secret in one.secrets if secret.shown_as
    }
    none = dict.fromkeys(shown.values(), False)
    found = {customer_id: dict(none) for customer_id in customer_ids}
    if not customer_ids:
        return found
    with database():
        for row in await store.held_secrets(pool, customer_ids):
            name = shown.get((row.integration, row.name))
            if name is not None:
                found[row.customer_id][name] = True
    return found
