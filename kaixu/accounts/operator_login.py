"""Logins of operators: with the admin password, or with a name, a password and perhaps a second factor."""

from __future__ import annotations

import hmac

import asyncpg
import msgspec

from kaixu.config.environment import Secrets
from kaixu.config.operators_section import OperatorsSection
from kaixu.ops.change_origin import CHANGE_ORIGIN
from kaixu.ops.client_network import network_of
from kaixu.plugin.errors import Forbidden, RateLimited, Unauthenticated
from kaixu.store import operators as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.login import login_succeeded, operator_login_attempt
from kaixu.store.operators import OperatorSecrets
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .login import IN_ALL, PER_ADDRESS, WINDOW_S, log_in
from .operator_factors import check_second_factor
from .operator_passwords import Passwords
from .operator_sessions import BegunSession, LoginClient, begin_session, password_mark

#: Tries in a quarter of an hour for one account, from addresses where it has not logged in lately.
PER_ACCOUNT = 10


class AttemptHashes(msgspec.Struct, frozen=True):
    """What tries are counted under: the address's network, the account, and both together."""

    address: bytes
    account: bytes
    known: bytes


def attempt_hashes(secrets: Secrets, address: str, email: str) -> AttemptHashes:
    """The hashes of an attempt, under the pepper: neither addresses nor names are stored."""

    def hashed(text: str) -> bytes:
        return hmac.digest(secrets.key_pepper.encode(), text.encode("utf-8", "surrogatepass"), "sha256")

    network = network_of(address)
    # The network alone as for the admin password (login.py), so that both count together.
    return AttemptHashes(hashed(network), hashed(f"account {email}"), hashed(f"account {email} from {network}"))


async def log_in_with_admin_password(
    pool: asyncpg.Pool, password: str, client: LoginClient, *, section: OperatorsSection, secrets: Secrets
) -> BegunSession:
    """Begin a session with the admin password.

    Raises `Unauthenticated`, `RateLimited`, and `Forbidden` where it is switched off.
    """
    require_admin_password(section)
    await log_in(pool, password, address=client.address, secrets=secrets, request_id=client.request_id)
    with database():
        async with pool.acquire() as connection, connection.transaction():
            return await begin_session(
                connection,
                client,
                method="admin_password",
                section=section,
                operator=None,
                mark=password_mark(secrets.key_pepper, secrets.admin_password),
            )


def require_admin_password(section: OperatorsSection) -> None:
    """Raises `Forbidden` where the admin password is switched off."""
    if not section.admin_password:
        raise Forbidden(
            "login with the admin password is switched off",
            hint="Log in with your email; `operators.admin_password` in kaixu.yaml switches it on.",
        )


async def log_in_operator(
    pool: asyncpg.Pool,
    passwords: Passwords,
    email: str,
    password: str,
    code: str | None,
    client: LoginClient,
    *,
    section: OperatorsSection,
    secrets: Secrets,
) -> BegunSession:
    """Begin a session of a named operator.

    A try is counted before anything is compared. An unknown name, a wrong password, an operator without a password and
    one who is switched off get the same answer after the same work. Raises `Unauthenticated` (with the code
    `TOTP_REQUIRED` where only the second factor is missing), `RateLimited`, `Overloaded`, and `Forbidden` where single
    sign-on is the only way.
    """
    if section.sso_only:
        raise Forbidden("operators log in with single sign-on", hint="Open /api/admin-oidc-start in a browser.")
    hashes = attempt_hashes(secrets, client.address, email)
    with database():
        wait_s = await operator_login_attempt(
            pool,
            address_hash=hashes.address,
            account_hash=hashes.account,
            known_hash=hashes.known,
            per_address=PER_ADDRESS,
            per_account=PER_ACCOUNT,
            in_all=IN_ALL,
            window_s=WINDOW_S,
        )
        if wait_s is not None:
            raise RateLimited("too many tries to log in", hint=f"Try again in {wait_s} s.", retry_after_s=wait_s)
        row = await store.secrets_by_email(pool, email)
        stored = None if row is None or row.disabled_at is not None else row.password_hash
        is_right = await passwords.verify(stored, password)
        if row is None or stored is None or not is_right:
            await note_failure(pool, hashes, client, "password", row)
            raise Unauthenticated("Invalid credentials")
        factor = None
        if row.totp_secret is not None:
            try:
                factor = await check_second_factor(pool, row, code, secrets)
            except Unauthenticated:
                if code:
                    await note_failure(pool, hashes, client, "code", row)
                raise
        async with pool.acquire() as connection, connection.transaction():
            operator = await store.locked_operator(connection, row.id)
            if operator is None:
                raise Unauthenticated("Invalid credentials")
            begun = await begin_session(
                connection, client, method="password", section=section, operator=operator, password_hash=stored
            )
            await note_success(connection, begun, client, factor)
        await login_succeeded(pool, hashes.known)
    if passwords.is_outdated(stored):
        stronger = await passwords.hash(password)
        with database():
            await store.rehash_password(pool, row.id, stored, stronger)
    return begun


async def note_success(connection: Connection, begun: BegunSession, client: LoginClient, factor: str | None) -> None:
    """Write a login of a named operator to the audit log."""
    identity = begun.identity
    CHANGE_ORIGIN.set(identity.origin_after(CHANGE_ORIGIN.get()))
    meta = {"session_id": begun.number, "method": identity.method, "second_factor": factor}
    await write_audit(
        connection,
        AuditEvent(identity.actor, "OPERATOR_LOGIN_OK", f"operator:{identity.email}", client.request_id, meta=meta),
    )


async def note_failure(
    pool: asyncpg.Pool, hashes: AttemptHashes, client: LoginClient, what: str, row: OperatorSecrets | None
) -> None:
    """Write a failed login to the audit log. A name that is no operator's is not written: it may be a password."""
    target = "operator:unknown" if row is None else f"operator:{row.email}"
    meta = {"ip_hash": hashes.address.hex(), "wrong": what}
    await write_audit(pool, AuditEvent("nobody", "OPERATOR_LOGIN_FAIL", target, client.request_id, meta=meta))
