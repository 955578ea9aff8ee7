"""Virtual keys: their settings, their chains, and who a key belongs to."""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter

import msgspec

from .errors import constraints
from .query import Connection, Query


class KeySettings(msgspec.Struct, frozen=True):
    """The settings of a key. Money is in nano-dollars; None: as the customer, or the gateway.

    `limits`: of its calls of one model, {"provider/model": {"rpm", "tpm", "day_cap_nusd"}}, without null ones.
    """

    label: str
    role: str
    monthly_cap_nusd: int | None
    rpm_limit: int | None
    rpd_limit: int | None
    max_devices: int | None
    require_install_id: bool | None
    allowed_providers: list[str] | None
    allowed_models: dict[str, list[str]] | None
    allowed_collections: list[str] | None
    tpm_limit: int | None
    day_cap_nusd: int | None
    limits: dict[str, dict[str, int]] | None
    expires_at: datetime | None
    group_id: int | None
    alert_thresholds: list[int] | None


class Key(KeySettings, frozen=True):
    """A key without its hash. Keys that were rotated share a chain, and with it spend, seats and rates.

    `from_plan`: the columns whose values are those of its customer's plan, not its own.
    """

    id: int
    chain_id: int
    customer_id: int
    key_last4: str
    created_at: datetime
    revoked_at: datetime | None
    from_plan: list[str]


class ListedKey(Key, frozen=True):
    """A key in the list, with this month's figures of its chain, and the key that replaced it."""

    spent_nusd: int
    held_nusd: int
    last_seen_at: datetime | None
    replaced_by: int | None


class Rotation(msgspec.Struct, frozen=True):
    """How a key was rotated."""

    new_key_id: int
    idempotency_key: str | None


class KeyOwner(msgspec.Struct, frozen=True):
    """The owner of a key, as a session needs it."""

    key_id: int
    customer_id: int
    key_last4: str
    is_revoked: bool
    is_expired: bool
    is_active: bool


KEY = Query(
    Key,
    """
    select label, role, monthly_cap_nusd, rpm_limit, rpd_limit, max_devices, require_install_id,
           allowed_providers, allowed_models, allowed_collections, tpm_limit, day_cap_nusd, limits, expires_at,
           group_id, alert_thresholds, id, chain_id, customer_id, key_last4, created_at, revoked_at, from_plan
      from kaixu.virtual_key k
     where id = $1
       -- Of a deleted customer only the ids of its keys are left.
       and not exists (select from kaixu.customer c where c.id = k.customer_id and c.deleted_at is not null)
    """,
)

OLDEST_ACTIVE_KEY = Query(
    Key,
    """
    select label, role, monthly_cap_nusd, rpm_limit, rpd_limit, max_devices, require_install_id,
           allowed_providers, allowed_models, allowed_collections, tpm_limit, day_cap_nusd, limits, expires_at,
           group_id, alert_thresholds, id, chain_id, customer_id, key_last4, created_at, revoked_at, from_plan
      from kaixu.virtual_key
     where customer_id = $1 and revoked_at is null and (expires_at is null or expires_at > clock_timestamp())
     order by id
     limit 1
    """,
)

CHAIN_KEYS = Query(
    Key,
    """
    select label, role, monthly_cap_nusd, rpm_limit, rpd_limit, max_devices, require_install_id,
           allowed_providers, allowed_models, allowed_collections, tpm_limit, day_cap_nusd, limits, expires_at,
           group_id, alert_thresholds, id, chain_id, customer_id, key_last4, created_at, revoked_at, from_plan
      from kaixu.virtual_key
     where chain_id = $1
     order by id desc
    """,
)

#: The settings in the order of the parameters of the two statements below.
settings_in_order = attrgetter(
    "label",
    "role",
    "monthly_cap_nusd",
    "rpm_limit",
    "rpd_limit",
    "max_devices",
    "require_install_id",
    "allowed_providers",
    "allowed_models",
    "allowed_collections",
    "tpm_limit",
    "day_cap_nusd",
    "limits",
    "expires_at",
    "group_id",
    "alert_thresholds",
)

NEW_KEY = Query(
    Key,
    """
    with numbered as (select nextval(pg_get_serial_sequence('kaixu.virtual_key', 'id')) as id)
    insert into kaixu.virtual_key (id, chain_id, customer_id, key_hash, key_last4, label, role,
                                   monthly_cap_nusd, rpm_limit, rpd_limit, max_devices, require_install_id,
                                   allowed_providers, allowed_models, allowed_collections, tpm_limit, day_cap_nusd,
                                   limits, expires_at, group_id, alert_thresholds, pepper_id)
    select n.id, coalesce($1, n.id), $2, $3, $4, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
           $21, $5
      from numbered n
    returning label, role, monthly_cap_nusd, rpm_limit, rpd_limit, max_devices, require_install_id,
              allowed_providers, allowed_models, allowed_collections, tpm_limit, day_cap_nusd, limits, expires_at,
              group_id, alert_thresholds, id, chain_id, customer_id, key_last4, created_at, revoked_at, from_plan
    """,
)

SUCCESSOR = Query(
    Key,
    """
    select label, role, monthly_cap_nusd, rpm_limit, rpd_limit, max_devices, require_install_id,
           allowed_providers, allowed_models, allowed_collections, tpm_limit, day_cap_nusd, limits, expires_at,
           group_id, alert_thresholds, id, chain_id, customer_id, key_last4, created_at, revoked_at, from_plan
      from kaixu.virtual_key
     where chain_id = $1 and id > $2
     order by id
     limit 1
    """,
)

ROTATION = Query(
    Rotation,
    """
    select (a.meta ->> 'new_key_id')::bigint as new_key_id, a.meta ->> 'idempotency_key' as idempotency_key
      from kaixu.audit_event a
     where a.target = 'key:' || $1::bigint and a.action = 'KEY_ROTATE'
     order by a.created_at desc
     limit 1
    """,
)

CHANGED_KEY = Query(
    Key,
    """
    update kaixu.virtual_key
       set label = $2, role = $3, monthly_cap_nusd = $4, rpm_limit = $5, rpd_limit = $6, max_devices = $7,
           require_install_id = $8, allowed_providers = $9, allowed_models = $10, allowed_collections = $11,
           tpm_limit = $12, day_cap_nusd = $13, limits = $14, expires_at = $15, group_id = $16,
           alert_thresholds = $17
     where id = $1
    returning label, role, monthly_cap_nusd, rpm_limit, rpd_limit, max_devices, require_install_id,
              allowed_providers, allowed_models, allowed_collections, tpm_limit, day_cap_nusd, limits, expires_at,
              group_id, alert_thresholds, id, chain_id, customer_id, key_last4, created_at, revoked_at, from_plan
    """,
)

REVOKED_KEY = Query(
    Key,
    """
    update kaixu.virtual_key
       set revoked_at = case when $2 then coalesce(revoked_at, now()) end
     where id = $1
       -- A rotated key is not restored beside its successor.
       and ($2 or not exists (select from kaixu.virtual_key younger
                               where younger.chain_id = kaixu.virtual_key.chain_id and younger.id > $1))
    returning label, role, monthly_cap_nusd, rpm_limit, rpd_limit, max_devices, require_install_id,
              allowed_providers, allowed_models, allowed_collections, tpm_limit, day_cap_nusd, limits, expires_at,
              group_id, alert_thresholds, id, chain_id, customer_id, key_last4, created_at, revoked_at, from_plan
    """,
)

OWNER = Query(
    KeyOwner,
    """
    select k.id as key_id, k.customer_id, k.key_last4, k.revoked_at is not null as is_revoked,
           coalesce(k.expires_at <= clock_timestamp(), false) as is_expired, c.is_active
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
     where k.key_hash in ($1::bytea, substr($2::bytea, 1, 32), substr($2, 33, 32))
     order by k.key_hash = $1 desc
     limit 1
    """,
)


async def key(db: Connection, key_id: int) -> Key | None:
    """One key."""
    return await KEY.one(db, key_id)


async def successor_of(db: Connection, old: Key) -> Key | None:
    """The key that replaced `old`; None where it was not rotated."""
    return await SUCCESSOR.one(db, old.chain_id, old.id)


async def rotation_of(db: Connection, key_id: int) -> Rotation | None:
    """The rotation of a key, as the audit log has it: a key is rotated once at most."""
    return await ROTATION.one(db, key_id)


async def oldest_active_key(db: Connection, customer_id: int) -> Key | None:
    """The first of a customer's keys that is neither revoked nor expired."""
    return await OLDEST_ACTIVE_KEY.one(db, customer_id)


async def locked_key(db: Connection, key_id: int) -> Key | None:
    """One key, as it stays until the transaction ends.

    What is locked is its customer's row, as for every change of a key.
    """
    await db.execute(
        """
        select from kaixu.customer c
         where c.id = (select k.customer_id from kaixu.virtual_key k where k.id = $1)
           for no key update
        """,
        key_id,
    )
    return await KEY.one(db, key_id)


async def insert_key(
    db: Connection,
    *,
    customer_id: int,
    chain_id: int | None,
    key_hash: bytes,
    pepper_id: bytes,
    key_last4: str,
    settings: KeySettings,
) -> Key:
    """A new key, in the chain of an older one or, with None, in its own. `pepper_id`: of the pepper of its hash.

    Raises `NotFound` for an unknown customer.
    """
    with constraints():
        made = await NEW_KEY.one(
            db, chain_id, customer_id, key_hash, key_last4, pepper_id, *settings_in_order(settings)
        )
    assert made is not None
    return made


async def update_key(db: Connection, key_id: int, settings: KeySettings) -> Key:
    """Write every setting of a key that the caller has locked."""
    changed = await CHANGED_KEY.one(db, key_id, *settings_in_order(settings))
    assert changed is not None
    return changed


async def set_revoked(db: Connection, key_id: int, revoked: bool) -> Key | None:
    """Revoke a key that the caller has locked, or restore it. Revoked twice, the first time stays.

    None: it was rotated and cannot be restored.
    """
    return await REVOKED_KEY.one(db, key_id, revoked)


async def owner_of(db: Connection, *, key_hash: bytes, legacy_hash: bytes) -> KeyOwner | None:
    """The owner of the key with this hash; the peppered hash goes first."""
    return await OWNER.one(db, key_hash, legacy_hash)


async def keys_of_chain(db: Connection, chain_id: int) -> list[Key]:
    """The keys of a chain, newest first. The caller has locked the customer."""
    return await CHAIN_KEYS.all(db, chain_id)
