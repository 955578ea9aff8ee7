"""The models that a caller may use, without making a call."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from kaixu.plugin.errors import CustomerDisabled, KeyExpired, Unauthenticated
from kaixu.store.allowlists import allowed


async def allowed_models(
    pool: asyncpg.Pool,
    *,
    key_hash: bytes | None,
    legacy_hash: bytes | None,
    key_id: int | None,
    models: Sequence[tuple[str, str]],
) -> set[tuple[str, str]]:
    """Those of `models` (provider, model) that the allowlists of the key and of its customer contain.

    Raises `Unauthenticated`, `CustomerDisabled`, `DatabaseAway`.
    """
    result = await allowed(pool, key_hash=key_hash, legacy_hash=legacy_hash, key_id=key_id, models=models)
    if result is None or result.is_revoked:
        raise Unauthenticated("Invalid or revoked key")
    if result.is_expired:
        raise KeyExpired
    if not result.is_active:
        raise CustomerDisabled("this account is disabled", hint="Ask your operator.")
    return {models[place] for place in result.places}
