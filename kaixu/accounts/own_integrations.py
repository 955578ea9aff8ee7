"""What customers see and change of what integrations store of them: the settings and secrets that are declared so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.plugin.errors import Forbidden
from kaixu.plugin.operation import Integration
from kaixu.store.integration_messages import messages_of
from kaixu.store.pool import database

from .integration_secrets import list_secrets
from .integration_settings import list_settings

#: Messages that a customer sees.
MOST_MESSAGES = 20


class OwnSecret(msgspec.Struct, frozen=True):
    """Whether a secret is set."""

    name: str
    title: str
    is_set: bool
    set_at: datetime | None


class OwnIntegration(msgspec.Struct, frozen=True):
    """What an integration leaves to the customer. `own`: the settings that somebody has set."""

    integration: str
    settings: dict[str, Any]
    own: list[str]
    secrets: list[OwnSecret]


def shown_to_customers(integrations: Iterable[Integration]) -> bool:
    """Whether an integration leaves something to customers, or may write to them."""
    integrations = list(integrations)
    return bool(left_to_customers(integrations)) or any("mail" in one.grants for one in integrations)


def left_to_customers(integrations: Iterable[Integration]) -> list[Integration]:
    """The integrations with something for customers, with only the secrets that customers may set."""
    narrowed = [
        msgspec.structs.replace(one, secrets=[secret for secret in one.secrets if secret.by_customer])
        for one in integrations
    ]
    return [one for one in narrowed if one.secrets or one.by_customer]


class OwnMessage(msgspec.Struct, frozen=True):
    """What an integration has written to the customer. `is_mailed` False: it was only shown."""

    integration: str
    subject: str
    paragraphs: list[str]
    link: dict[str, str] | None
    is_mailed: bool
    created_at: datetime


async def own_messages(pool: asyncpg.Pool, customer_id: int) -> list[OwnMessage]:
    """What integrations have written to a customer in the last 90 days, newest first."""
    with database():
        found = await messages_of(pool, customer_id, most=MOST_MESSAGES)
    return [
        OwnMessage(
            one.integration,
            one.subject,
            one.paragraphs,
            None if one.link_url is None else {"text": one.link_text or one.link_url, "url": one.link_url},
            one.is_mailed,
            one.created_at,
        )
        for one in found
    ]


async def own_integrations(
    pool: asyncpg.Pool, customer_id: int, integrations: Iterable[Integration]
) -> list[OwnIntegration]:
    """What each integration leaves to a customer. Raises `NotFound`."""
    left = left_to_customers(integrations)
    shown = {one.integration: one for one in await list_settings(pool, customer_id, left)}
    secrets = await list_secrets(pool, customer_id, left)
    return [
        OwnIntegration(
            one.name,
            {name: shown[one.name].settings[name] for name in one.by_customer},
            [name for name in shown[one.name].own if name in one.by_customer] if one.by_customer else [],
            [
                OwnSecret(secret.name, secret.title, secret.is_set, secret.set_at)
                for secret in secrets
                if secret.integration == one.name and secret.title is not None
            ],
        )
        for one in left
    ]


def require_own_settings(
    integrations: Iterable[Integration], name: str, changes: Mapping[str, Any], reset: Sequence[str]
) -> None:
    """Raises `Forbidden` for a setting that is not the customer's to change."""
    allowed = {field for one in integrations if one.name == name for field in one.by_customer}
    for field in (*changes, *reset):
        if field not in allowed:
            raise Forbidden(
                f"`settings.{field[:40]}` is not a setting that customers change", hint="Ask your operator."
            )
