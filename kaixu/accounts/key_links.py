"""Links that are mailed: each makes one key, once, when its button is pressed."""

from __future__ import annotations

import hmac
import re
import secrets as randomness
from collections.abc import Sequence
from html import escape
from uuid import uuid4

import asyncpg

from kaixu.config.environment import Settings
from kaixu.ops.mail_content import Content, seal_content
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import Conflict, CustomerDisabled, NotFound, RateLimited
from kaixu.store import key_requests as store
from kaixu.store.key_requests import Limits, LinkMail, LinkState
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .selfservice_keys import SelfserviceKey, issue_key

#: The page of a link, and the token in its query.
PATH = "/request-key/link"
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")

SUBJECT = "Your key for the kAIxU Gateway"

TEXT = """\
Somebody, probably you, has requested a key for the kAIxU Gateway at

    {gateway}

for this address. To get the key, open this link and press the button:

    {link}

The link is valid for {duration} and works once. If this address has a
self-service key already, the new one replaces it: the old one stops working.
Other keys are not touched.

If you have not requested a key, ignore this mail: nothing changes.
"""

HTML = """\
<p>Somebody, probably you, has requested a key for the kAIxU Gateway at {gateway} for this address.
To get the key, open this link and press the button:</p>
<p><a href="{link}">{link}</a></p>
<p>The link is valid for {duration} and works once. If this address has a self-service key already, the new one
replaces it: the old one stops working. Other keys are not touched.</p>
<p>If you have not requested a key, ignore this mail: nothing changes.</p>
"""


def new_link(settings: Settings, pepper: str, sealer: Sealer, *, valid_s: float) -> LinkMail:
    """A link with its mail, to be sent if the database decides so. Only a hash of the token is stored in the clear."""
    token, mail_id = randomness.token_urlsafe(32), uuid4()
    gateway = settings.gateway_url or ""
    words = {"gateway": gateway, "link": f"{gateway}{PATH}?token={token}", "duration": in_words(valid_s)}
    content = Content(TEXT.format(**words), HTML.format(**{name: escape(one) for name, one in words.items()}))
    return LinkMail(token_hash(pepper, token), valid_s, mail_id, SUBJECT, seal_content(sealer, mail_id, content))


def in_words(seconds: float) -> str:
    """A duration in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * 3600:
        return f"{round(seconds / 60)} minutes"
    return f"{round(seconds / 3600)} hours" if seconds < 2 * 86_400 else f"{round(seconds / 86_400)} days"


def token_hash(pepper: str, token: str) -> bytes:
    """What is stored instead of a token."""
    return hmac.digest(pepper.encode(), f"key link:{token}".encode(), "sha256")


async def require_usable(pool: asyncpg.Pool, peppers: Sequence[str], token: str) -> None:
    """Look at a link without using it. Raises like `use_link`, as far as that can be told before."""
    if not TOKEN.fullmatch(token):
        raise unusable("unknown")
    with database():
        _, link = await stored_link(pool, peppers, token)
    if link is None:
        raise unusable("unknown")
    if link.state != "link" or link.is_expired:
        raise unusable(link.state if link.state != "link" else "expired")


async def stored_link(db: Connection, peppers: Sequence[str], token: str) -> tuple[bytes, LinkState | None]:
    """The hash under which a link is stored, with its state; the first hash and None: there is no such link."""
    hashes = [token_hash(pepper, token) for pepper in peppers]
    for one in hashes:
        if (link := await store.link_state(db, one)) is not None:
            return one, link
    return hashes[0], None


async def use_link(
    pool: asyncpg.Pool, settings: Settings, peppers: Sequence[str], limits: Limits, token: str, *, request_id: str
) -> SelfserviceKey:
    """Make the key of a link, once.

    Raises `NotFound` for an unknown link, `Conflict` for one that was used, replaced or has expired;
    `CustomerDisabled` and `RateLimited` leave it as it is.
    """
    if not TOKEN.fullmatch(token):
        raise unusable("unknown")
    try:
        return await used(pool, settings, peppers, limits, token, request_id=request_id)
    except Conflict as error:
        if error.code != Conflict.code:
            raise
    # An operator has made a customer of this address meanwhile: the key is for that one.
    return await used(pool, settings, peppers, limits, token, request_id=request_id)


async def used(
    pool: asyncpg.Pool, settings: Settings, peppers: Sequence[str], limits: Limits, token: str, *, request_id: str
) -> SelfserviceKey:
    """Have the database spend the link, and make its key in the same transaction."""
    with database():
        async with pool.acquire() as connection, connection.transaction():
            stored, _ = await stored_link(connection, peppers, token)
            redemption = await store.use_key_link(connection, stored, limits)
            if redemption.outcome == "issue":
                assert redemption.request_id is not None
                return await issue_key(
                    connection,
                    settings,
                    peppers[0],
                    address=redemption.address or "",
                    mailbox=redemption.mailbox or "",
                    customer_id=redemption.customer_id,
                    chain_id=redemption.chain_id,
                    number=redemption.request_id,
                    request_id=request_id,
                )
    raise unusable(redemption.outcome, redemption.retry_after_s)


def unusable(outcome: str, retry_after_s: int | None = None) -> Exception:
    """Why a link makes no key."""
    again = "Request a key again; a new link will be mailed."
    match outcome:
        case "used":
            return Conflict("this link was used already", hint=again, code="LINK_USED")
        case "replaced":
            return Conflict("this link was replaced by a newer one, which was used", hint=again, code="LINK_REPLACED")
        case "other_spelling":
            return Conflict(
                "there is an account for another spelling of this address, without or with another part after the +",
                hint="Request a link with that spelling.",
                code="OTHER_SPELLING",
            )
        case "expired":
            return Conflict("this link has expired", hint=again, code="LINK_EXPIRED")
        case "suspended":
            return CustomerDisabled("this account is switched off", hint="Ask the operator.")
        case "limited":
            return RateLimited(
                "too many keys for this address",
                hint="The link stays valid; use it later.",
                retry_after_s=retry_after_s,
            )
    return NotFound("there is no such link", hint=again, code="UNKNOWN_LINK")
