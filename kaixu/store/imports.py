"""Customers and keys that come from another gateway, in batches; each row of that gateway once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from kaixu.ops.change_origin import acting

from .errors import constraints
from .query import Connection, Query

#: Advisory lock: one import at a time. "impo" in ASCII.
LOCK = 0x696D706F


class NewCustomer(msgspec.Struct, frozen=True):
    """A customer to be made from a row of the other gateway. Money is in nano-dollars.

    `placeholder`: the address if `email` belongs to another customer.
    """

    source_id: str
    email: str
    placeholder: str
    plan_name: str
    monthly_cap_nusd: int
    is_active: bool
    allowed_models: dict[str, list[str]] | None
    stripe_customer_id: str | None = None
    tpm_limit: int | None = None
    day_cap_nusd: int | None = None


class NewKey(msgspec.Struct, frozen=True):
    """A key to be made from a row of the other gateway, which keeps its hash only. Money is in nano-dollars."""

    source_id: str
    customer_id: int
    key_hash: bytes
    pepper_id: bytes | None
    key_last4: str
    label: str
    role: str
    monthly_cap_nusd: int | None
    rpm_limit: int | None
    allowed_models: dict[str, list[str]] | None
    is_revoked: bool
    tpm_limit: int | None
    day_cap_nusd: int | None
    expires_at: datetime | None


class Imported(msgspec.Struct, frozen=True):
    """What has become of a row: its customer here. `is_new`: made by this statement."""

    source_id: str
    customer_id: int
    email: str
    is_new: bool


class ImportedKey(msgspec.Struct, frozen=True):
    """The key that was made of a row."""

    source_id: str
    customer_id: int
    key_id: int


class Number(msgspec.Struct, frozen=True):
    """A count."""

    count: int


# Two rows with one address: the second one gets its placeholder, as does one whose address a customer here has.
CUSTOMERS = Query(
    Imported,
    """
    with asked as (
        select a.*, sha256(convert_to(a.source_id, 'UTF8')) as source_hash,
               row_number() over (partition by lower(a.email) order by a.at) as of_address
          from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::boolean[], $8::jsonb[],
                      $9::text[], $10::integer[], $11::bigint[])
               with ordinality a (source_id, email, placeholder, plan_name, monthly_cap_nusd, is_active, allowed_models,
                                  stripe_customer_id, tpm_limit, day_cap_nusd, at)
    ), numbered as (
        select a.*, nextval(pg_get_serial_sequence('kaixu.customer', 'id')) as id
          from asked a
         where not exists (select from kaixu.imported i
                            where i.source = $1 and i.kind = 'customer' and i.source_hash = a.source_hash)
    ), made as (
        insert into kaixu.customer
               (id, email, plan_name, monthly_cap_nusd, is_active, allowed_models, tpm_limit, day_cap_nusd)
        select n.id,
               case when n.of_address > 1 or exists (select from kaixu.customer c where lower(c.email) = lower(n.email))
                    then n.placeholder else n.email end,
               n.plan_name, n.monthly_cap_nusd, n.is_active, n.allowed_models, n.tpm_limit, n.day_cap_nusd
          from numbered n
        returning *
    ), settings as (
        insert into kaixu.integration_setting (customer_id, integration, settings)
        select n.id, 'stripe', jsonb_build_object('stripe_customer_id', n.stripe_customer_id)
          from numbered n
         where n.stripe_customer_id is not null
    ), noted as (
        insert into kaixu.imported (source, kind, source_hash, customer_id)
        select $1, 'customer', n.source_hash, n.id from numbered n
    ), audited as (
        insert into kaixu.audit_event (actor, action, target, request_id, after, meta)
        select $12, 'CUSTOMER_CREATE', 'customer:' || m.id, $13, to_jsonb(m),
               jsonb_build_object('import', $1::text)
          from made m
    )
    select n.source_id, m.id as customer_id, m.email, true as is_new
      from made m
      join numbered n on n.id = m.id
    union all
    select a.source_id, i.customer_id, coalesce(c.email, ''), false
      from asked a
      join kaixu.imported i on i.source = $1 and i.kind = 'customer' and i.source_hash = a.source_hash
      left join kaixu.customer c on c.id = i.customer_id
    """,
)

KNOWN_KEYS = Query(
    ImportedKey,
    """
    select a.source_id, i.customer_id, coalesce(i.key_id, 0) as key_id
      from unnest($2::text[]) a (source_id)
      join kaixu.imported i
        on i.source = $1 and i.kind = 'key' and i.source_hash = sha256(convert_to(a.source_id, 'UTF8'))
    """,
)

# A key whose hash is here already is left out: it belongs to somebody.
KEYS = Query(
    ImportedKey,
    """
    with asked as (
        select a.*, h.source_hash
          from unnest($2::text[], $3::bigint[], $4::bytea[], $5::bytea[], $6::text[], $7::text[], $8::text[],
                      $9::bigint[], $10::integer[], $11::jsonb[], $12::boolean[], $13::integer[], $14::bigint[],
                      $15::timestamptz[])
               a (source_id, customer_id, key_hash, pepper_id, key_last4, label, role, monthly_cap_nusd, rpm_limit,
                  allowed_models, is_revoked, tpm_limit, day_cap_nusd, expires_at)
         cross join lateral (select sha256(convert_to(a.source_id, 'UTF8')) as source_hash offset 0) h
          -- Who was deleted since an earlier import gets no new keys.
          join kaixu.customer c on c.id = a.customer_id and c.deleted_at is null
         where not exists (select from kaixu.imported i
                            where i.source = $1 and i.kind = 'key' and i.source_hash = h.source_hash)
    ), numbered as (
        select a.*, nextval(pg_get_serial_sequence('kaixu.virtual_key', 'id')) as id from asked a
    ), made as (
        insert into kaixu.virtual_key
               (id, chain_id, customer_id, key_hash, pepper_id, key_last4, label, role, monthly_cap_nusd, rpm_limit,
                allowed_models, revoked_at, tpm_limit, day_cap_nusd, expires_at)
        select n.id, n.id, n.customer_id, n.key_hash, n.pepper_id, n.key_last4, n.label, n.role, n.monthly_cap_nusd,
               n.rpm_limit,
               n.allowed_models, case when n.is_revoked then now() end, n.tpm_limit, n.day_cap_nusd, n.expires_at
          from numbered n
        on conflict (key_hash) do nothing
        returning *
    ), noted as (
        insert into kaixu.imported (source, kind, source_hash, customer_id, key_id)
        select $1, 'key', n.source_hash, m.customer_id, m.id
          from made m
          join numbered n on n.id = m.id
    ), audited as (
        insert into kaixu.audit_event (actor, action, target, request_id, after, meta)
        select $16, 'KEY_CREATE', 'key:' || m.id, $17, to_jsonb(m) - 'key_hash' - 'pepper_id',
               jsonb_build_object('import', $1::text)
          from made m
    )
    select n.source_id, m.customer_id, m.id as key_id
      from made m
      join numbered n on n.id = m.id
    """,
)

SPEND = Query(
    Number,
    """
    select kaixu.import_spend(
        p_ticket => $1, p_customer_id => $2, p_key_id => $3, p_spent_nusd => $4, p_month => $5, p_source => $6,
        p_price_id => $7, p_request_id => $8) as count
    """,
)


async def lock_imports(db: Connection) -> None:
    """Let this transaction alone import; others wait until it ends.

    The statements that follow look rows up by indexes, also while the server's statistics are of smaller tables.
    """
    await db.execute("select pg_advisory_xact_lock($1), set_config('enable_seqscan', 'off', true)", LOCK)


async def insert_customers(
    db: Connection, source: str, rows: Sequence[NewCustomer], *, actor: str, request_id: str
) -> list[Imported]:
    """Make the customers that were not imported before, each with its audit event; return all of them.

    Raises `Conflict` where somebody took one of the addresses meanwhile.
    """
    columns = [list(column) for column in zip(*map(msgspec.structs.astuple, rows), strict=True)]
    with constraints():
        made = await CUSTOMERS.all(db, source, *columns, acting(actor), request_id)
    await db.execute(
        "select kaixu.react(p_event => 'customer_created', p_customer_id => u.id, p_body => '{}')"
        " from unnest($1::bigint[]) u (id)",
        [one.customer_id for one in made if one.is_new],
    )
    return made


async def insert_keys(
    db: Connection, source: str, rows: Sequence[NewKey], *, actor: str, request_id: str
) -> list[ImportedKey]:
    """Make the keys that were not imported before, each with its audit event; return those."""
    columns = [list(column) for column in zip(*map(msgspec.structs.astuple, rows), strict=True)]
    return await KEYS.all(db, source, *columns, acting(actor), request_id)


async def known_keys(db: Connection, source: str, source_ids: Sequence[str]) -> set[str]:
    """Those of the other gateway's keys that were imported before."""
    return {one.source_id for one in await KNOWN_KEYS.all(db, source, list(source_ids))}


async def import_spend(
    db: Connection,
    rows: Sequence[tuple[UUID, int, int, int]],
    *,
    month: date,
    source: str,
    price_id: int,
    request_id: str,
) -> int:
    """Book earlier spend: of each key its ticket, customer, key, and nano-dollars. Returns how many are new."""
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
    booked = await SPEND.one(db, *columns, month, source, price_id, request_id)
    assert booked is not None
    return booked.count
