"""The second factor of operators: codes of an authenticator (RFC 6238), and recovery codes; each is taken once."""

from __future__ import annotations

import hmac
import io
import re
import secrets
import time

import asyncpg
import msgspec
import pyotp
from cryptography.exceptions import InvalidTag

from kaixu.config.environment import Secrets
from kaixu.ops.sealing import sealer_of
from kaixu.plugin.errors import Conflict, RateLimited, Unauthenticated
from kaixu.store import operators as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.login import count_operator_try
from kaixu.store.operators import OperatorSecrets
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .key_material import pepper_id

STEP_S = 30

#: How many steps a clock may be off, in both directions.
STEPS_OFF = 1

RECOVERY_CODES = 10

#: Tries in a quarter of an hour, whatever the address: a guess is right with a chance of 3 in a million.
MOST_TRIES = 5
WINDOW_S = 15 * 60

#: The issuer that authenticators show.
ISSUER = "kAIxU Gateway"

MAX_CODE = 40
CODE = re.compile(r"[0-9]{6}")

#: Without signs that look like others.
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


class OfferedTotp(msgspec.Struct, frozen=True):
    """A new secret for an authenticator: as text, as address, and as QR code (SVG)."""

    secret: str
    uri: str
    qr_svg: str


def about_totp(operator_id: int) -> str:
    """The purpose under which an operator's secret is sealed."""
    return f"operator:{operator_id}:totp"


def step_of(secret: str, code: str, now: float) -> int | None:
    """The time step that a code belongs to; None: it is of none that is near. Takes the same time for every code."""
    totp = pyotp.TOTP(secret)
    current = int(now) // STEP_S
    found = None
    for step in range(current - STEPS_OFF, current + STEPS_OFF + 1):
        if hmac.compare_digest(totp.generate_otp(step), code):
            found = step
    return found


def recovery_hash(pepper: str, code: str) -> bytes:
    """What is stored of a recovery code."""
    plain = code.replace("-", "").replace(" ", "").lower()
    return hmac.digest(pepper.encode(), b"recovery code " + plain.encode("utf-8", "replace"), "sha256")


def new_recovery_codes() -> list[str]:
    """Fresh recovery codes, each with some 50 random bits."""
    parts = ["".join(secrets.choice(LETTERS) for _ in range(5)) for _ in range(2 * RECOVERY_CODES)]
    return [f"{first}-{second}" for first, second in zip(parts[::2], parts[1::2], strict=True)]


async def check_second_factor(db: Connection, row: OperatorSecrets, code: str | None, secrets_: Secrets) -> str:
    """Take the code of a login: 'totp' or 'recovery_code'. In no transaction: a code that was taken stays taken.

    Raises `Unauthenticated` without a code (`TOTP_REQUIRED`), for a wrong one and for one that was used already, and
    `RateLimited` after too many tries.
    """
    if not code:
        raise Unauthenticated(
            "a code of your authenticator is needed, too", hint="Send it as `code`.", code="TOTP_REQUIRED"
        )
    await count_try(db, second_factor_of(row.id), secrets_)
    plain = code.replace(" ", "")
    if CODE.fullmatch(plain):
        step = step_of(opened(row.totp_secret, row.id, secrets_), plain, time.time())
        if step is not None and await store.take_totp_step(db, row.id, step):
            return "totp"
    elif await store.take_recovery_code(db, row.id, [recovery_hash(one, plain) for one in secrets_.key_peppers]):
        return "recovery_code"
    raise wrong_code()


def second_factor_of(operator_id: int) -> str:
    """What tries of a second factor are counted under."""
    return f"second factor of operator {operator_id}"


def wrong_code() -> Unauthenticated:
    """The error for a code that is wrong, old, or was used already."""
    return Unauthenticated(
        "the code is wrong, or was used already", hint="Wait for the next code; check the clock of your device."
    )


async def count_try(db: Connection, subject: str, secrets_: Secrets) -> None:
    """Count a try of what somebody who is known already must prove once more. Raises `RateLimited`."""
    subject_hash = hmac.digest(secrets_.key_pepper.encode(), subject.encode(), "sha256")
    wait_s = await count_operator_try(db, subject_hash=subject_hash, most=MOST_TRIES, window_s=WINDOW_S)
    if wait_s is not None:
        raise RateLimited("too many tries", hint=f"Try again in {wait_s} s.", retry_after_s=wait_s)


def opened(sealed: bytes | None, operator_id: int, secrets_: Secrets) -> str:
    """A sealed secret. Raises `Conflict` where it cannot be opened, since DB_ENCRYPTION_KEY is another one."""
    assert sealed is not None
    try:
        return sealer_of(secrets_).open(sealed, about_totp(operator_id)).decode()
    except InvalidTag:
        raise Conflict(
            "the second factor was stored under another DB_ENCRYPTION_KEY",
            hint="Remove it with `kaixu operators reset-totp`, and set it up again.",
        ) from None


async def offer_totp(pool: asyncpg.Pool, operator_id: int, email: str, secrets_: Secrets) -> OfferedTotp:
    """A new secret for an operator's authenticator. Until its first right code the old one counts.

    Raises `DatabaseAway`.
    """
    import segno  # draws the code, and is needed for nothing else

    secret = pyotp.random_base32()
    sealed = sealer_of(secrets_).seal(secret.encode(), about_totp(operator_id))
    with database():
        await store.offer_totp(pool, operator_id, sealed)
    uri = pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)
    drawn = io.BytesIO()
    segno.make(uri, error="m").save(drawn, kind="svg", scale=4, xmldecl=False, svgclass=None, lineclass=None)
    return OfferedTotp(secret, uri, drawn.getvalue().decode())


async def confirm_totp(
    pool: asyncpg.Pool, operator_id: int, email: str, code: str, secrets_: Secrets, *, actor: str, request_id: str
) -> list[str]:
    """Switch the second factor on with the first code, and return new recovery codes, which are shown once.

    Raises `Conflict` where no secret was offered, `Unauthenticated` for a wrong code, `RateLimited`.
    """
    with database():
        row = await store.secrets_of_operator(pool, operator_id)
        if row is None or row.totp_pending is None:
            raise Conflict("no second factor was set up", hint="Begin with POST admin-totp.")
        await count_try(pool, second_factor_of(operator_id), secrets_)
        plain = code.replace(" ", "")
        step = step_of(opened(row.totp_pending, operator_id, secrets_), plain, time.time())
        if step is None:
            raise wrong_code()
        codes = new_recovery_codes()
        async with pool.acquire() as connection, connection.transaction():
            if not await store.confirm_totp(connection, operator_id, row.totp_pending, step):
                raise Conflict("another second factor was set up meanwhile", hint="Use the newest QR code.")
            hashes = [recovery_hash(secrets_.key_pepper, one) for one in codes]
            made_with = pepper_id(secrets_.key_pepper)
            await store.replace_recovery_codes(connection, operator_id, hashes, pepper_id=made_with)
            await write_audit(connection, AuditEvent(actor, "OPERATOR_TOTP_ON", f"operator:{email}", request_id))
    return codes


async def remove_totp(pool: asyncpg.Pool, operator_id: int, email: str, *, actor: str, request_id: str) -> None:
    """Remove an operator's second factor, and the recovery codes. Raises `DatabaseAway`."""
    with database():
        async with pool.acquire() as connection, connection.transaction():
            await store.remove_totp(connection, operator_id)
            await write_audit(connection, AuditEvent(actor, "OPERATOR_TOTP_OFF", f"operator:{email}", request_id))
