"""Encrypt all stored texts again, under the present DB_ENCRYPTION_KEY. It may be interrupted and repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag

from kaixu.config.environment import Secrets
from kaixu.ops.mail_content import about_mail
from kaixu.ops.sealing import Sealer, about_blob, about_callback, about_file, about_job, about_secret, sealer_of
from kaixu.store.pool import database
from kaixu.store.sealed_texts import COLUMNS, SealedColumn, keys_after, replace_sealed, sealed_text

from .alert_webhooks import about as about_alert_webhook
from .operator_factors import about_totp
from .secret_fingerprints import accept_secrets

#: What a text is sealed for, by the column, from the row's key.
PURPOSES: dict[str, Callable[..., str]] = {
    "integration_secret.sealed": lambda customer_id, integration, name: about_secret(integration, customer_id, name),
    "alert_webhook.url": about_alert_webhook,
    "operator.totp_secret": about_totp,
    "operator.totp_pending": about_totp,
    "mail.sealed": about_mail,
    "file.content": about_file,
    "blob.sealed_key": about_blob,
    "callback_state.sealed": about_callback,
    "job.payload": lambda job_id: about_job(job_id, "payload"),
    "job.result": lambda job_id: about_job(job_id, "result"),
    "job.webhook": lambda job_id: about_job(job_id, "webhook"),
}


class Resealed(msgspec.Struct):
    """How many texts of a column were encrypted again, were already, and can be read with no key that is known."""

    texts: str
    resealed: int = 0
    already: int = 0
    unreadable: int = 0


async def reseal(pool: asyncpg.Pool, secrets: Secrets, *, actor: str, request_id: str) -> list[Resealed]:
    """Encrypt all texts under the present key, then take it as the database's. Raises `DatabaseAway`.

    Texts that no known key opens stay as they are.
    """
    sealer = sealer_of(secrets)
    done = [await reseal_column(pool, sealer, column) for column in COLUMNS]
    await accept_secrets(pool, secrets, ["DB_ENCRYPTION_KEY"], actor=actor, request_id=request_id)
    return done


async def reseal_column(pool: asyncpg.Pool, sealer: Sealer, column: SealedColumn) -> Resealed:
    """Encrypt the texts of one column again."""
    name = f"{column.table}.{column.column}"
    counts = Resealed(name)
    after: tuple[Any, ...] | None = None
    while True:
        with database():
            keys = await keys_after(pool, column, after)
        if not keys:
            return counts
        for key in keys:
            await reseal_text(pool, sealer, column, key, PURPOSES[name](*key), counts)
        after = keys[-1]


async def reseal_text(
    pool: asyncpg.Pool, sealer: Sealer, column: SealedColumn, key: tuple[Any, ...], about: str, counts: Resealed
) -> None:
    """Encrypt one text again. One that changes meanwhile is read again: whoever changed it may have the old key."""
    while True:
        with database():
            before = await sealed_text(pool, column, key)
        if before is None:
            return
        try:
            after = sealer.resealed(before, about)
        except InvalidTag:
            counts.unreadable += 1
            return
        if after is None:
            counts.already += 1
            return
        with database():
            if await replace_sealed(pool, column, key, before, after):
                counts.resealed += 1
                return
