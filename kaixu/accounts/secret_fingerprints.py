"""Whether the secrets here are those of the database: else no key would work, and no stored text could be read."""

from __future__ import annotations

import dataclasses
import hmac
import secrets as randomness

import asyncpg

from kaixu.config.environment import EnvironmentMistake, Secrets
from kaixu.plugin.errors import Unprocessable
from kaixu.store import secret_fingerprints as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.pool import database
from kaixu.store.query import Connection
from kaixu.store.secret_fingerprints import Fingerprint

#: The secrets that belong to a database, by their variables, and what fails with another one.
WITH_ANOTHER = {
    "KEY_PEPPER": "no key would work",
    "DB_ENCRYPTION_KEY": "stored texts could not be read, and integrations could not log in",
}

SALT_BYTES = 16


class WrongSecrets(EnvironmentMistake):
    """The secrets here are not those with which the database was set up."""


def fingerprint(name: str, secret: str, salt: bytes) -> bytes:
    """HMAC-SHA256 under the secret: it proves that a secret is the same, and tells nothing about it."""
    return hmac.digest(secret.encode(), b"kaixu fingerprint of " + name.encode() + b"\0" + salt, "sha256")


def secret_of(secrets: Secrets, name: str) -> str:
    """The secret of a variable."""
    value: str = getattr(secrets, name.lower())
    return value


def known_secrets(secrets: Secrets, name: str) -> list[str]:
    """The secret of a variable, and the one that it replaces or will be replaced by."""
    old: str = getattr(secrets, f"{name.lower()}_old")
    return [secret_of(secrets, name), *([old] if old else [])]


def fresh(secrets: Secrets, name: str) -> Fingerprint:
    """A new fingerprint of a secret."""
    salt = randomness.token_bytes(SALT_BYTES)
    return Fingerprint(name, salt, fingerprint(name, secret_of(secrets, name), salt))


def is_of(one: Fingerprint, secret: str) -> bool:
    """Whether a fingerprint is that of a secret."""
    return hmac.compare_digest(one.fingerprint, fingerprint(one.name, secret, one.salt))


async def wrong_secrets(db: Connection, secrets: Secrets) -> list[str]:
    """The variables whose secret is another one than the database's. Changes nothing.

    While a secret is being replaced, the database's may be the present one or the old one: with both, all that is
    stored can be read, and all keys are found.
    """
    return [
        one.name
        for one in await store.fingerprints(db, list(WITH_ANOTHER))
        if not any(is_of(one, secret) for secret in known_secrets(secrets, one.name))
    ]


async def is_other_one(db: Connection, name: str, secrets: Secrets) -> bool:
    """Whether the database's secret is another one than the present one of this variable."""
    return any(not is_of(one, secret_of(secrets, name)) for one in await store.fingerprints(db, [name]))


async def require_secrets(db: Connection, secrets: Secrets) -> None:
    """Note the secrets at the first start; later starts must have the same. Raises `WrongSecrets`."""
    await store.insert_fingerprints(db, [fresh(secrets, name) for name in WITH_ANOTHER])
    if names := await wrong_secrets(db, secrets):
        raise WrongSecrets(sentence(names))


def sentence(names: list[str]) -> str:
    """What is wrong, and what to do."""
    reasons = "; ".join(f"{name} is not the one of this database: {WITH_ANOTHER[name]}" for name in names)
    return f"{reasons}. Set the one it was set up with; if the old one is lost: kaixu accept-secrets {' '.join(names)}"


async def accept_secrets(
    pool: asyncpg.Pool, secrets: Secrets, names: list[str], *, actor: str, request_id: str
) -> list[str]:
    """Take the secrets of these variables as the database's from now on; returns those that have changed.

    Raises `Unprocessable` for another name.
    """
    for name in names:
        if name not in WITH_ANOTHER:
            raise Unprocessable(f"`{name[:40]}` is not one of {', '.join(WITH_ANOTHER)}", field="secret")
    with database():
        async with pool.acquire() as connection, connection.transaction():
            # Two commands at once: the second one waits, and sees what the first one has written.
            await connection.execute("lock table kaixu.secret_fingerprint in share row exclusive mode")
            stored = {one.name for one in await store.fingerprints(connection, names)}
            wrong = await wrong_secrets(
                connection, dataclasses.replace(secrets, db_encryption_key_old="", key_pepper_old="")
            )
            changed = [name for name in dict.fromkeys(names) if name in wrong or name not in stored]
            for name in changed:
                await store.replace_fingerprint(connection, fresh(secrets, name))
                await write_audit(connection, AuditEvent(actor, "SECRET_ACCEPT", f"secret:{name}", request_id))
    return changed
