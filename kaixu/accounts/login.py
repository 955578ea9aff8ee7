"""The operator's password: compared in constant time, its tries limited over all replicas."""

from __future__ import annotations

import hashlib
import hmac

import asyncpg
import msgspec

from kaixu.config.environment import Secrets
from kaixu.ops.change_origin import CHANGE_ORIGIN
from kaixu.ops.client_network import network_of
from kaixu.plugin.errors import RateLimited, Unauthenticated
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.login import login_attempt, login_succeeded
from kaixu.store.pool import database

#: Tries in a quarter of an hour: from one address, and from everywhere.
PER_ADDRESS = 10
IN_ALL = 100
WINDOW_S = 15 * 60


async def log_in(
    pool: asyncpg.Pool, password: str, *, address: str, secrets: Secrets, request_id: str, logged: bool = True
) -> None:
    """Check the operator's password. Raises `Unauthenticated` where it is wrong, `RateLimited` after too many tries.

    A try is counted before the password is compared. Only a hash of the address's network is stored. `logged`: a
    success is written to the audit log; a failure always is.
    """
    address_hash = hmac.digest(secrets.key_pepper.encode(), network_of(address).encode(), "sha256")
    with database():
        wait_s = await login_attempt(
            pool, address_hash=address_hash, per_address=PER_ADDRESS, in_all=IN_ALL, window_s=WINDOW_S
        )
        if wait_s is not None:
            raise RateLimited("too many tries of the password", hint=f"Try again in {wait_s} s.", retry_after_s=wait_s)
        right = hmac.compare_digest(digest(password), digest(secrets.admin_password))
        if right:
            CHANGE_ORIGIN.set(msgspec.structs.replace(CHANGE_ORIGIN.get(), actor="admin"))
            await login_succeeded(pool, address_hash)
        if logged or not right:
            action = "ADMIN_LOGIN_OK" if right else "ADMIN_LOGIN_FAIL"
            meta = {"ip_hash": address_hash.hex()}
            await write_audit(pool, AuditEvent("admin", action, "admin", request_id, meta=meta))
    if not right:
        raise Unauthenticated("Invalid credentials")


def digest(password: str) -> bytes:
    """A hash: of one length, so that the time to compare does not depend on the password."""
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()
