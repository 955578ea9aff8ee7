"""Which models a key may use, by its own lists and its customer's."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import msgspec

from .pool import database
from .query import Query


class AllowedModels(msgspec.Struct, frozen=True):
    """The state of a key, and the positions of the models that it may use."""

    is_revoked: bool
    is_expired: bool
    is_active: bool
    places: list[int]


ALLOWED = Query(
    AllowedModels,
    """
    select k.revoked_at is not null as is_revoked,
           coalesce(k.expires_at <= clock_timestamp(), false) as is_expired,
           c.is_active,
           array(select (requested.place - 1)::integer
                   from unnest($4::text[], $5::text[]) with ordinality requested (provider, model, place)
                  where kaixu.provider_allowed(
                        p_list => c.allowed_providers, p_provider => requested.provider, p_asked => requested.provider)
                    and kaixu.provider_allowed(
                        p_list => k.allowed_providers, p_provider => requested.provider, p_asked => requested.provider)
                    and kaixu.model_allowed(
                        p_list => c.allowed_models, p_provider => requested.provider, p_asked => requested.provider,
                        p_model => requested.model)
                    and kaixu.model_allowed(
                        p_list => k.allowed_models, p_provider => requested.provider, p_asked => requested.provider,
                        p_model => requested.model)
                  order by requested.place) as places
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
     where k.key_hash in ($1::bytea, substr($2::bytea, 1, 32), substr($2, 33, 32)) or k.id = $3::bigint
    """,
)


async def allowed(
    pool: asyncpg.Pool,
    *,
    key_hash: bytes | None,
    legacy_hash: bytes | None,
    key_id: int | None,
    models: Sequence[tuple[str, str]],
) -> AllowedModels | None:
    """Which of `models` (provider, model) a key may use; None: there is no such key. Raises `DatabaseAway`."""
    providers, names = [provider for provider, _ in models], [model for _, model in models]
    with database():
        return await ALLOWED.one(pool, key_hash, legacy_hash, key_id, providers, names)
