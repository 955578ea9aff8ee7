"""Redemption codes for operators: made in batches, listed, revoked. Only hashes of codes are stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import uuid4

import asyncpg
import msgspec

from kaixu.ops.change_origin import acting
from kaixu.ops.clock import utc_now
from kaixu.plugin.errors import Conflict, Invalid, NotFound, Unprocessable
from kaixu.store import codes as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.codes import CodeBatch, ListedCode
from kaixu.store.pool import database

from . import fields
from .code_material import code_hash, new_code, normal_code
from .key_material import pepper_id

__all__ = [
    "CodeBatch",
    "CodePage",
    "ListedCode",
    "MadeCodes",
    "create_codes",
    "list_batches",
    "revoke_codes",
    "show_batch",
]

#: The most codes of a batch, and how long they may be valid.
MOST_CODES = 10_000
MOST_DAYS = 3660

#: How many batches or codes a page has.
PAGE = 200
MOST_PAGE = 10_000

KNOWN = ("amount_cents", "expires_at", "count", "email_domain", "plan_name", "note", "idempotency_key")

#: A domain's name, as it stands after the @ of an address.
DOMAIN = re.compile(r"[^\s@,;<>\"]+\.[^\s@,;<>\".]{2,63}")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class MadeCodes(msgspec.Struct, frozen=True):
    """A batch and its codes, which are stored nowhere and shown once; None: it was made before."""

    batch: CodeBatch
    codes: list[str] | None


class CodePage(msgspec.Struct, frozen=True):
    """A batch with a page of its codes; `next_after_id` None: there are no more."""

    batch: CodeBatch
    codes: list[ListedCode]
    next_after_id: int | None


async def create_codes(
    pool: asyncpg.Pool, given: Mapping[str, object], *, pepper: str, actor: str, request_id: str
) -> MadeCodes:
    """Make a batch of codes from its wire fields; once for each idempotency key.

    A repetition returns the batch without its codes: they are not known any more. Raises `Invalid`, `Unprocessable`
    naming a field, and `Conflict` where the key was used for another batch.
    """
    fields.require_known(given, KNOWN)
    amount = fields.cents(given.get("amount_cents"), "amount_cents")
    if not amount:
        raise Unprocessable("`amount_cents` must be 1 or more", field="amount_cents")
    count = fields.bounded(given.get("count"), "count", MOST_CODES, least=1) or 1
    expires_at = expiry(given.get("expires_at"), "expires_at")
    domain = email_domain(given.get("email_domain"), "email_domain")
    plan = fields.text(given.get("plan_name"), "plan_name", 40)
    note = fields.text(given.get("note"), "note", 200)
    client_key = fields.text(given.get("idempotency_key"), "idempotency_key", 200)
    codes = [new_code() for _ in range(count)]
    plain = [code for code in map(normal_code, codes) if code is not None]
    with database():
        async with pool.acquire() as connection, connection.transaction():
            made = await store.make_codes(
                connection,
                idempotency_key=client_key or str(uuid4()),
                amount_nusd=amount,
                expires_at=expires_at,
                email_domain=domain,
                plan_name=plan,
                note=note,
                created_by=acting(actor),
                code_hashes=[code_hash(pepper, code) for code in plain],
                last4=[code[-4:] for code in plain],
            )
            batch = await store.batch(connection, made.batch_id)
            assert batch is not None
            if not made.made:
                earlier = (batch.amount_nusd, batch.codes, batch.email_domain, batch.plan_name, batch.expires_at)
                if earlier != (amount, count, domain, plan, expires_at):
                    raise Conflict(
                        "this idempotency key was used for another batch of codes",
                        hint="Use a fresh key for each batch.",
                        code="IDEMPOTENCY_KEY_USED",
                    )
                return MadeCodes(batch, None)
            await store.note_pepper(connection, batch.id, pepper_id(pepper))
            await write_audit(
                connection,
                AuditEvent(actor, "CODES_CREATE", f"code_batch:{batch.id}", request_id, after=row_of(batch)),
            )
    return MadeCodes(batch, codes)


async def list_batches(pool: asyncpg.Pool, given: Mapping[str, object]) -> list[CodeBatch]:
    """A page of batches, newest first, by `before_id` and `limit`. Raises `Unprocessable`."""
    before = fields.bounded(given.get("before_id"), "before_id", fields.MOST_ID, least=1)
    limit = fields.bounded(given.get("limit"), "limit", MOST_PAGE, least=1) or PAGE
    with database():
        return await store.batches(pool, before=before, limit=limit)


async def show_batch(pool: asyncpg.Pool, batch_id: int, given: Mapping[str, object]) -> CodePage:
    """A batch with a page of its codes, by `after_id` and `limit`. Raises `Unprocessable`, `NotFound`."""
    after = fields.bounded(given.get("after_id"), "after_id", fields.MOST_ID, least=1)
    limit = fields.bounded(given.get("limit"), "limit", MOST_PAGE, least=1) or PAGE
    with database():
        batch = await store.batch(pool, batch_id)
        if batch is None:
            raise no_batch(batch_id)
        rows = await store.codes(pool, batch_id, after=after, limit=limit + 1)
    page = rows[:limit]
    return CodePage(batch, page, page[-1].id if len(rows) > limit else None)


async def revoke_codes(
    pool: asyncpg.Pool, *, batch_id: int | None, code_id: int | None, actor: str, request_id: str
) -> list[ListedCode]:
    """Revoke one code, or all codes of a batch that nobody has redeemed; those that were revoked now.

    Raises `Invalid` without an id or with both, `NotFound`, and `Conflict` for a code that is redeemed.
    """
    if (batch_id is None) == (code_id is None):
        raise Invalid("name either `batch_id` or `code_id`", field="batch_id")
    with database():
        async with pool.acquire() as connection, connection.transaction():
            if batch_id is not None and await store.batch(connection, batch_id) is None:
                raise no_batch(batch_id)
            revoked = await store.revoke_codes(connection, batch_id=batch_id, code_id=code_id)
            if code_id is not None and not revoked:
                code = await store.code(connection, code_id)
                if code is None:
                    raise NotFound(f"there is no code {code_id}", code="UNKNOWN_CODE")
                if code.redeemed_at is not None:
                    raise Conflict(f"code {code_id} is redeemed", hint="Its top-up stays.", code="CODE_USED")
            if revoked:
                target = f"code:{code_id}" if batch_id is None else f"code_batch:{batch_id}"
                await write_audit(
                    connection,
                    AuditEvent(actor, "CODES_REVOKE", target, request_id, meta={"codes": len(revoked)}),
                )
    return revoked


def expiry(value: object, field: str) -> datetime:
    """When codes expire: a time, or a day, at whose end (UTC) they do. Raises `Invalid` where it is missing."""
    moment = fields.instant(value, field)
    if moment is None:
        raise Invalid(f"`{field}` is missing", hint="Write it like 2026-12-31.", field=field)
    if isinstance(value, str) and DAY.fullmatch(value.strip()):
        moment += timedelta(days=1)
    now = utc_now()
    if not now < moment <= now + timedelta(days=MOST_DAYS):
        raise Unprocessable(f"`{field}` must lie in the future, within ten years", field=field)
    return moment


def email_domain(value: object, field: str) -> str | None:
    """The part of addresses after the @, in lower case, with or without the @; None for null and blank."""
    domain = fields.text(value, field, 253)
    if domain is None:
        return None
    domain = domain.removeprefix("@").lower()
    if not DOMAIN.fullmatch(domain):
        raise Unprocessable(f"`{field}` is not a domain", hint="Write it like example.com.", field=field)
    return domain


def no_batch(batch_id: int) -> NotFound:
    """The error for a batch that does not exist."""
    return NotFound(f"there is no batch {batch_id}", code="UNKNOWN_BATCH")
