"""Redeeming a code: a top-up of this month for the customer of a key, exactly once."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import msgspec

from kaixu.ops.client_network import network_of
from kaixu.plugin.errors import (
    Conflict,
    CustomerDisabled,
    Invalid,
    KaixuError,
    KeyExpired,
    NotFound,
    RateLimited,
    RoleTooLow,
    Unauthenticated,
    Unprocessable,
)
from kaixu.store import codes as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.codes import Redeemed
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .code_material import code_hash, network_hash, normal_code
from .topups import MOST_EXTRA_NUSD, ToppedUp

#: Codes that do not exist, in an hour: with the keys of one customer, and from one network.
PER_CUSTOMER = 10
PER_NETWORK = 30
WINDOW_S = 3600

MOST_TEXT = 200


class Credit(msgspec.Struct, frozen=True):
    """What a code has credited."""

    topped_up: ToppedUp
    code_id: int


async def redeem(
    pool: asyncpg.Pool,
    *,
    key_id: int,
    key_last4: str,
    code: object,
    address: str,
    peppers: Sequence[str],
    request_id: str,
) -> Credit:
    """Credit a code to the customer of a key; `applied` is false where this customer had redeemed it before.

    Key, role and account are read under the account's lock. Raises `Invalid`, `Unprocessable`, `Unauthenticated`,
    `CustomerDisabled`, `RoleTooLow`, `RateLimited`, `NotFound` for a code that does not exist, and `Conflict` for one
    that is used, revoked, expired, or for others.
    """
    plain = read_code(code)
    network = network_hash(peppers[0], network_of(address))
    hashes = [code_hash(pepper, plain) for pepper in peppers]
    with database():
        async with pool.acquire() as connection, connection.transaction():
            # One that does not exist is a try, too, and counts once.
            stored = await store.stored_hash(connection, hashes) if len(hashes) > 1 else None
            done = await store.redeem_code(
                connection,
                key_id=key_id,
                code_hash=stored or hashes[0],
                network=network,
                per_customer=PER_CUSTOMER,
                per_network=PER_NETWORK,
                window_s=WINDOW_S,
            )
            if done.refused is None and done.applied:
                await note_credit(connection, done, actor=f"key:{key_last4}", request_id=request_id)
    if done.refused is not None:  # raised after the commit: a refusal counts as a try
        raise refusal(done)
    assert done.customer_id is not None and done.month is not None and done.amount_nusd is not None  # noqa: PT018
    assert done.extra_nusd is not None and done.code_id is not None  # noqa: PT018
    topped_up = ToppedUp(done.customer_id, done.month, done.amount_nusd, done.extra_nusd, bool(done.applied))
    return Credit(topped_up, done.code_id)


async def note_credit(connection: Connection, done: Redeemed, *, actor: str, request_id: str) -> None:
    """The audit event of a credit. Raises `Unprocessable`, which undoes it, beyond the most that a month can get."""
    assert done.extra_nusd is not None and done.amount_nusd is not None  # noqa: PT018
    if done.extra_nusd > MOST_EXTRA_NUSD:
        raise Unprocessable("the top-ups of one month are at most $1,000,000,000 in all", field="code")
    month = str(done.month)
    await write_audit(
        connection,
        AuditEvent(
            actor,
            "TOPUP_CODE",
            f"customer:{done.customer_id}",
            request_id,
            {"month": month, "extra_nusd": done.extra_nusd - done.amount_nusd},
            {"month": month, "extra_nusd": done.extra_nusd},
            {"amount_nusd": done.amount_nusd, "code_id": done.code_id, "batch_id": done.batch_id},
        ),
    )


def read_code(value: object) -> str:
    """The characters of a code. Raises `Invalid` where it is missing, `Unprocessable` for what is none."""
    if value is None or value == "":
        raise Invalid("`code` is missing", field="code")
    if not isinstance(value, str) or len(value) > MOST_TEXT or (plain := normal_code(value)) is None:
        raise Unprocessable(
            "`code` is not a redemption code", hint="A code has five groups of five letters and digits.", field="code"
        )
    return plain


def refusal(done: Redeemed) -> KaixuError:
    """The error for what the function refused."""
    if done.refused == "KEY_EXPIRED":
        return KeyExpired()
    if done.refused == "CUSTOMER_DISABLED":
        return CustomerDisabled("this account is disabled", hint="Ask your operator.")
    if done.refused == "ROLE_TOO_LOW":
        return RoleTooLow("redeeming a code needs a key with the role admin or owner", hint="Use another key.")
    if done.refused == "RATE_LIMITED":
        return RateLimited(
            "too many codes were tried that do not exist",
            hint=f"Try again in {done.retry_after_s} s.",
            retry_after_s=done.retry_after_s,
        )
    if done.refused == "UNKNOWN_CODE":
        return NotFound("there is no such code", hint="Check what you typed.", code="UNKNOWN_CODE", field="code")
    if done.refused == "CODE_USED":
        return Conflict("this code was redeemed by another account", code="CODE_USED", field="code")
    if done.refused == "CODE_EXPIRED":
        return Conflict("this code has expired", hint="Ask your operator.", code="CODE_EXPIRED", field="code")
    if done.refused == "CODE_REVOKED":
        return Conflict("this code was revoked", hint="Ask your operator.", code="CODE_REVOKED", field="code")
    if done.refused == "CODE_NOT_FOR_ACCOUNT":
        return Conflict(
            "this code is for other accounts", hint="Ask your operator.", code="CODE_NOT_FOR_ACCOUNT", field="code"
        )
    return Unauthenticated("Invalid or revoked key")
