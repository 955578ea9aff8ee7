"""After DB_ENCRYPTION_KEY was replaced, all stored texts are encrypted again, while gateways go on writing."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from cryptography.exceptions import InvalidTag

from kaixu.accounts import resealing
from kaixu.accounts.resealing import PURPOSES, reseal
from kaixu.accounts.secret_fingerprints import WrongSecrets, require_secrets, wrong_secrets
from kaixu.config.environment import Secrets
from kaixu.ops.sealing import Sealer, sealer_of
from kaixu.store.sealed_texts import COLUMNS, keys_after, replace_sealed, sealed_text
from tests.support.money import customer, virtual_key

OLD, NEW = "old-key-0123456789", "new-key-0123456789"
BY: dict[str, Any] = {"actor": "admin", "request_id": "r"}


def secrets_with(key: str, old: str = "") -> Secrets:
    return Secrets("password-0123", "jwt-secret-0123456", "pepper-0123456789", key, old)


async def furnished(pool: asyncpg.Pool) -> None:
    """Two rows of every table with sealed texts, each text its own purpose, under the old key."""
    for _ in range(2):
        customer_id = await customer(pool)
        key_id, _ = await virtual_key(pool, customer_id)
        statements: dict[str, tuple[Any, ...]] = {
            "insert into kaixu.integration_secret (customer_id, integration, name, sealed, set_by)"
            " values ($1, 'push', 'token', 'x', 'admin')": (customer_id,),
            "insert into kaixu.alert_webhook (customer_id, url) values ($1, 'x')": (customer_id,),
            "insert into kaixu.operator (email, role, totp_secret, totp_pending) values ($1, 'viewer', 'x', 'x')": (
                f"{customer_id}@example.com",
            ),
            "insert into kaixu.mail (id, idempotency_key, kind, recipient, subject, sealed)"
            " values ($1, $1::uuid::text, 'test', 'a@example.com', '', 'x')": (uuid4(),),
            "insert into kaixu.file (id, customer_id, purpose, filename, bytes, content)"
            " values ($1, $2, 'batch', 'f', 1, 'x')": (uuid4(), customer_id),
            "insert into kaixu.blob (id, integration, customer_id, store_id, bytes, hash, sealed_key, expires_at)"
            " values ($1, 'push', $2, $1, 1, 'sha256', 'x', now())": (uuid4(), customer_id),
            "insert into kaixu.callback_state (state_hash, integration, callback, is_bound, cookie_hash, sealed, expires_at)"
            " values (convert_to($1, 'UTF8'), 'push', 'c', true, '', 'x', now())": (str(uuid4()),),
            "insert into kaixu.job (id, kind, customer_id, key_id, request_id, payload, result, webhook, most_attempts)"
            " values ($1, 'chat', $2, $3, 'r', 'x', 'x', 'x', 1)": (uuid4(), customer_id, key_id),
        }
        for statement, values in statements.items():
            await pool.execute(statement, *values)
    old = Sealer(OLD)
    for column in COLUMNS:
        about = PURPOSES[f"{column.table}.{column.column}"]
        seal = old.seal_named if column.table in ("blob", "callback_state", "integration_secret") else old.seal
        for key in await keys_after(pool, column, None):
            purpose = about(*key)
            assert await replace_sealed(pool, column, key, b"x", seal(purpose.encode(), purpose))


async def opened(pool: asyncpg.Pool, sealer: Sealer) -> int:
    """How many texts a sealer opens, each with the content that it had."""
    count = 0
    for column in COLUMNS:
        for key in await keys_after(pool, column, None):
            purpose = PURPOSES[f"{column.table}.{column.column}"](*key)
            sealed = await sealed_text(pool, column, key)
            assert sealed is not None
            try:
                assert sealer.open(sealed, purpose) == purpose.encode()
                count += 1
            except InvalidTag:
                pass
    return count


def test_every_column_has_its_purpose() -> None:
    assert {f"{one.table}.{one.column}" for one in COLUMNS} == {*PURPOSES}


async def test_all_texts_are_encrypted_again_and_a_repetition_changes_nothing(pool: asyncpg.Pool) -> None:
    await require_secrets(pool, secrets_with(OLD))
    await furnished(pool)
    total = 2 * len(COLUMNS)
    assert (await opened(pool, Sealer(OLD)), await opened(pool, Sealer(NEW))) == (total, 0)
    with pytest.raises(WrongSecrets):
        await require_secrets(pool, secrets_with(NEW))
    both = secrets_with(NEW, OLD)
    await require_secrets(pool, both)  # a gateway with both starts, and reads everything
    assert await opened(pool, sealer_of(both)) == total
    done = await reseal(pool, both, **BY)
    assert [(one.resealed, one.already, one.unreadable) for one in done] == [(2, 0, 0)] * len(COLUMNS)
    assert (await opened(pool, Sealer(OLD)), await opened(pool, Sealer(NEW))) == (0, total)
    assert await wrong_secrets(pool, secrets_with(NEW)) == []
    assert await wrong_secrets(pool, secrets_with(OLD)) == ["DB_ENCRYPTION_KEY"]
    done = await reseal(pool, secrets_with(NEW), **BY)
    assert [(one.resealed, one.already, one.unreadable) for one in done] == [(0, 2, 0)] * len(COLUMNS)
    actions = await pool.fetch("select action, target from kaixu.audit_event")
    assert [tuple(row) for row in actions] == [("SECRET_ACCEPT", "secret:DB_ENCRYPTION_KEY")]


async def test_it_goes_on_after_an_interruption_and_leaves_what_no_key_opens(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await require_secrets(pool, secrets_with(OLD))
    await furnished(pool)
    await pool.execute("update kaixu.alert_webhook set url = 'nonsense'")
    left = 7

    async def interrupted(*args: Any) -> bool:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return await replace_sealed(*args)

    both = secrets_with(NEW, OLD)
    with monkeypatch.context() as patch:
        patch.setattr(resealing, "replace_sealed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            await reseal(pool, both, **BY)
    total = 2 * len(COLUMNS) - 2
    assert await opened(pool, sealer_of(both)) == total
    assert await wrong_secrets(pool, secrets_with(OLD)) == []
    done = {one.texts: one for one in await reseal(pool, both, **BY)}
    assert done["alert_webhook.url"].unreadable == 2
    assert await opened(pool, Sealer(NEW)) == total


async def test_what_a_gateway_changes_meanwhile_is_not_overwritten(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnished(pool)
    column = COLUMNS[0]
    [key, _] = await keys_after(pool, column, None)
    purpose = PURPOSES["integration_secret.sealed"](*key)
    changed = False

    async def read(*args: Any) -> bytes | None:
        nonlocal changed
        before = await sealed_text(*args)
        if not changed and args[2] == key:
            changed = True
            await replace_sealed(pool, column, key, before or b"", Sealer(OLD).seal_named(b"a new token", purpose))
        return before

    monkeypatch.setattr(resealing, "sealed_text", read)
    await reseal(pool, secrets_with(NEW, OLD), **BY)
    sealed = await sealed_text(pool, column, key)
    assert sealed is not None
    assert Sealer(NEW).open(sealed, purpose) == b"a new token"
