"""Requests for keys by mail address: decided, counted and redeemed by functions of the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from .pruning import delete_in_batches
from .query import Connection, Query

ROWS_AT_ONCE = 1000


class Limits(msgspec.Struct, frozen=True):
    """How many requests are allowed: of an address, from a network, in all; in an hour, or a day."""

    per_address: int
    per_address_a_day: int
    per_network: int
    per_network_a_day: int
    in_all: int


class LinkMail(msgspec.Struct, frozen=True):
    """A link that may be mailed: the hash of its token, and the encrypted mail."""

    token_hash: bytes
    valid_s: float
    mail_id: UUID
    subject: str
    sealed: bytes


class NewRequest(msgspec.Struct, frozen=True):
    """A request as it came. For the spellings see `accounts/addresses.py`."""

    id: UUID
    address: str
    spellings: list[str]
    own_spellings: list[str]
    mailbox: str
    network: bytes
    mode: str
    can_mail: bool


class Decision(msgspec.Struct, frozen=True):
    """What schema/functions/request_key.sql decided. `recipient`: whom a link is for."""

    outcome: str
    retry_after_s: int | None
    recipient: str


class Redemption(msgspec.Struct, frozen=True):
    """What schema/functions/use_key_link.sql decided. Without a customer the address is new."""

    outcome: str
    retry_after_s: int | None
    request_id: UUID | None
    address: str | None
    mailbox: str | None
    customer_id: int | None
    chain_id: int | None


class Approval(msgspec.Struct, frozen=True):
    """What schema/functions/decide_key_request.sql did."""

    outcome: str
    address: str | None
    recipient: str | None


class KeyRequest(msgspec.Struct, frozen=True):
    """A request in the list."""

    id: UUID
    address: str
    state: str
    recipient: str
    customer_id: int | None
    key_id: int | None
    decided_by: str | None
    decided_at: datetime | None
    expires_at: datetime | None
    created_at: datetime


class LinkState(msgspec.Struct, frozen=True):
    """A link, before it is used."""

    state: str
    is_expired: bool


REQUEST = Query(
    Decision,
    """
    select outcome, retry_after_s, recipient
      from kaixu.request_key(
        p_id => $1, p_address => $2, p_spellings => $3, p_own_spellings => $4, p_mailbox => $5, p_network => $6,
        p_mode => $7, p_can_mail => $8, p_per_address => $9, p_per_address_a_day => $10, p_per_network => $11,
        p_per_network_a_day => $12, p_in_all => $13, p_token_hash => $14, p_valid_s => $15, p_mail_id => $16,
        p_subject => $17, p_sealed => $18)
    """,
)

USE = Query(
    Redemption,
    """
    select outcome, retry_after_s, request_id, address, mailbox, customer_id, chain_id
      from kaixu.use_key_link(p_token_hash => $1, p_per_address => $2, p_per_address_a_day => $3)
    """,
)

DECIDE = Query(
    Approval,
    """
    select outcome, address, recipient
      from kaixu.decide_key_request(
        p_id => $1, p_is_approved => $2, p_actor => $3, p_token_hash => $4, p_valid_s => $5, p_mail_id => $6,
        p_subject => $7, p_sealed => $8)
    """,
)

LISTED = Query(
    KeyRequest,
    """
    select id, address, state, recipient, customer_id, key_id, decided_by, decided_at, expires_at, created_at
      from kaixu.key_request
     where ($1::text is null or state = $1) and ($2::text is null or mailbox = $2)
     order by created_at desc, id
     limit $3
    """,
)

LINK_STATE = Query(
    LinkState,
    """
    select state, expires_at <= clock_timestamp() as is_expired
      from kaixu.key_request
     where token_hash = $1
    """,
)


async def request_key(db: Connection, request: NewRequest, limits: Limits, link: LinkMail) -> Decision:
    """Decide a request and count it, in the caller's transaction."""
    decision = await REQUEST.one(
        db,
        request.id,
        request.address,
        request.spellings,
        request.own_spellings,
        request.mailbox,
        request.network,
        request.mode,
        request.can_mail,
        limits.per_address,
        limits.per_address_a_day,
        limits.per_network,
        limits.per_network_a_day,
        limits.in_all,
        link.token_hash,
        link.valid_s,
        link.mail_id,
        link.subject,
        link.sealed,
    )
    assert decision is not None
    return decision


async def use_key_link(db: Connection, token_hash: bytes, limits: Limits) -> Redemption:
    """Spend a link, in the caller's transaction."""
    redemption = await USE.one(db, token_hash, limits.per_address, limits.per_address_a_day)
    assert redemption is not None
    return redemption


async def decide_key_request(
    db: Connection, request_id: UUID, *, approve: bool, actor: str, link: LinkMail
) -> Approval:
    """Approve or deny a request that is held."""
    approval = await DECIDE.one(
        db, request_id, approve, actor, link.token_hash, link.valid_s, link.mail_id, link.subject, link.sealed
    )
    assert approval is not None
    return approval


async def note_key(db: Connection, request_id: UUID, *, customer_id: int, key_id: int) -> None:
    """Note which key came of a request."""
    await db.execute(
        "update kaixu.key_request set customer_id = $2, key_id = $3 where id = $1", request_id, customer_id, key_id
    )


async def note_account(db: Connection, *, customer_id: int, address: str, mailbox: str, chain_id: int) -> None:
    """Note a customer's self-service key."""
    await db.execute(
        """
        insert into kaixu.selfservice_account (customer_id, address, mailbox, chain_id) values ($1, lower($2), $3, $4)
        on conflict (customer_id) do update
           set address = excluded.address, mailbox = excluded.mailbox, chain_id = excluded.chain_id
        """,
        customer_id,
        address,
        mailbox,
        chain_id,
    )


async def link_state(db: Connection, token_hash: bytes) -> LinkState | None:
    """How a link stands; None: there is none."""
    return await LINK_STATE.one(db, token_hash)


async def list_key_requests(db: Connection, *, state: str | None, mailbox: str | None, limit: int) -> list[KeyRequest]:
    """Requests, newest first."""
    return await LISTED.all(db, state, mailbox, limit)


async def forget_address(db: Connection, *, mailbox: str, spellings: Sequence[str]) -> None:
    """Remove the requests of an address, in lower case, with their links' mails: also those that brought no key."""
    await db.execute(
        """
        with gone as (
            delete from kaixu.key_request r
             where r.mailbox = $1 and (lower(r.address) = any ($2::text[]) or lower(r.recipient) = any ($2))
            returning r.id
        )
        delete from kaixu.mail m using gone g where m.idempotency_key = 'key_request:' || g.id
        """,
        mailbox,
        list(spellings),
    )


PRUNE = """
    delete from kaixu.key_request
     where id in (select id from kaixu.key_request
                   where created_at < now() - make_interval(days => $1)
                     and coalesce(expires_at, created_at) < now()
                     and counted_at < now() - interval '1 day'
                   limit $2 for update skip locked)
"""


async def prune_key_requests(db: Connection, *, days: int) -> int:
    """Remove requests this old that count no more; return how many. Those that are held expire with it, too."""
    return await delete_in_batches(db, PRUNE, days, ROWS_AT_ONCE, at_once=ROWS_AT_ONCE)
