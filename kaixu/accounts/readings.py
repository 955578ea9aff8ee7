"""Requests that need a key but call no model: check the key and its rate of reading and polling."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

import asyncpg

from kaixu.plugin.errors import CustomerDisabled, KeyExpired, RateLimited, Unauthenticated
from kaixu.store import readings

#: Each full 64 KiB of a body count as one more reading.
UNIT_BYTES = 64 * 1024

#: How long the owner of a key is cached, and that a key is unknown. It is used only to limit memory for
#: request bodies: admission always reads the database.
OWNER_CACHED_S = 5.0
UNKNOWN_CACHED_S = 2.0
MOST_CACHED = 10_000


async def count_reading(
    pool: asyncpg.Pool,
    *,
    key_hash: bytes | None,
    legacy_hash: bytes | None,
    key_id: int | None,
    body_bytes: int,
    per_minute: int,
    default_rpm: int,
) -> None:
    """Count one reading. Raises `Unauthenticated`, `CustomerDisabled`, `RateLimited`, `DatabaseAway`."""
    decision = await readings.take_reading_rate(
        pool,
        key_hash=key_hash,
        legacy_hash=legacy_hash,
        key_id=key_id,
        units=1 + body_bytes // UNIT_BYTES,
        per_minute=per_minute,
        default_rpm=default_rpm,
    )
    if decision.refused in ("UNAUTHENTICATED", "KEY_REVOKED"):
        raise Unauthenticated("Invalid or revoked key")
    if decision.refused == "KEY_EXPIRED":
        raise KeyExpired
    if decision.refused == "CUSTOMER_DISABLED":
        raise CustomerDisabled("this account is disabled", hint="Ask your operator.")
    if decision.refused is not None:
        if not decision.rate_limit:
            raise RateLimited(
                "rate limit reached: 0 requests", hint="Ask your operator.", retry_after_s=decision.retry_after_s
            )
        raise RateLimited(
            f"rate limit reached: {decision.rate_limit} readings a minute",
            hint=f"Try again in {decision.retry_after_s} s.",
            retry_after_s=decision.retry_after_s,
        )


class KeyLookup:
    """Finds the customer of a key, and caches it for some seconds."""

    def __init__(self, pool: asyncpg.Pool, clock: Callable[[], float] = monotonic) -> None:
        self.pool = pool
        self.clock = clock
        self.known: OrderedDict[bytes | int | None, tuple[float, int | None]] = OrderedDict()

    async def owner_of(self, *, key_hash: bytes | None, legacy_hash: bytes | None, key_id: int | None) -> int:
        """The customer's id. Raises `Unauthenticated`, `DatabaseAway`."""
        name = key_hash if key_id is None else key_id
        until, owner = self.known.get(name, (float("-inf"), None))
        if until < self.clock():
            owner = await readings.owner_of(self.pool, key_hash=key_hash, legacy_hash=legacy_hash, key_id=key_id)
            self.known[name] = (self.clock() + (UNKNOWN_CACHED_S if owner is None else OWNER_CACHED_S), owner)
            self.known.move_to_end(name)
            if len(self.known) > MOST_CACHED:
                self.known.popitem(last=False)
        if owner is None:
            raise Unauthenticated("Invalid or revoked key")
        return owner
