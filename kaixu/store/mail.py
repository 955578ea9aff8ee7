"""The outbox of mails: claimed for one attempt, sent or tried again, removed after a while."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from .pruning import delete_in_batches
from .query import Connection, Query

#: Rows removed in one statement.
ROWS_AT_ONCE = 1000


class Attachment(msgspec.Struct, frozen=True):
    """A file that is made when the mail is sent: `kind` says by what, `id` of what."""

    kind: str
    id: int


class NewMail(msgspec.Struct, frozen=True):
    """A mail to be sent once for its `idempotency_key`.

    `sealed` replaces the bodies where they hold a secret: they are encrypted for the mail's `id`. `send_before`: it is
    of no use later.
    """

    idempotency_key: str
    kind: str
    recipient: str
    subject: str
    text: str | None = None
    html: str | None = None
    attachments: Sequence[Attachment] = ()
    send_before: datetime | None = None
    customer_id: int | None = None
    id: UUID = msgspec.field(default_factory=uuid4)
    sealed: bytes | None = None


class DueMail(msgspec.Struct, frozen=True):
    """A mail to be sent now. `attempt` counts from 1."""

    id: UUID
    kind: str
    recipient: str
    subject: str
    body_text: str | None
    body_html: str | None
    sealed: bytes | None
    attachments: list[dict[str, object]]
    created_at: datetime
    attempt: int


class ListedMail(msgspec.Struct, frozen=True):
    """A mail in the list of the outbox, without its content."""

    id: UUID
    kind: str
    customer_id: int | None
    recipient: str
    subject: str
    state: str
    attempts: int
    next_attempt_at: datetime | None
    sent_at: datetime | None
    last_error: str | None
    created_at: datetime


class OutboxState(msgspec.Struct, frozen=True):
    """How many mails wait, how old the oldest of them is, and how many were given up in the last day."""

    waiting: int
    oldest_s: float | None
    failed: int


ENQUEUE = """
    select kaixu.enqueue_mail(
        p_idempotency_key => $1, p_kind => $2, p_recipient => $3, p_subject => $4, p_text => $5, p_html => $6,
        p_attachments => $7, p_send_before => $8, p_customer_id => $9, p_id => $10, p_sealed => $11)
"""


async def enqueue_mail(db: Connection, mail: NewMail) -> bool:
    """Write a mail, in the caller's transaction. False: one with its idempotency key was written before."""
    enqueued = await db.fetchval(
        ENQUEUE,
        mail.idempotency_key,
        mail.kind,
        mail.recipient,
        mail.subject,
        mail.text,
        mail.html,
        msgspec.to_builtins(list(mail.attachments)),
        mail.send_before,
        mail.customer_id,
        mail.id,
        mail.sealed,
    )
    return enqueued is not None


# A row that was made in the future, or is due later than any pause lasts, was written before the clock was set back.
CLAIM = Query(
    DueMail,
    """
    update kaixu.mail m
       set attempts = m.attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $1),
           created_at = least(m.created_at, clock_timestamp())
     where m.id in (select x.id from kaixu.mail x
                     where x.state = 'waiting'
                       and (x.next_attempt_at <= clock_timestamp()
                            or x.next_attempt_at > clock_timestamp() + interval '13 hours'
                            or x.created_at > clock_timestamp() + interval '5 seconds')
                     -- What is of no use later goes first: a link must not wait for thousands of invoices.
                     order by x.send_before is null, x.next_attempt_at limit $2 for update skip locked)
    returning m.id, m.kind, m.recipient, m.subject, m.body_text, m.body_html, m.sealed, m.attachments, m.created_at,
              m.attempts as attempt
    """,
)

LISTED = Query(
    ListedMail,
    """
    select id, kind, customer_id, recipient, subject, state, attempts, next_attempt_at, sent_at, last_error, created_at
      from kaixu.mail
     where ($1::text is null or state = $1) and ($2::text is null or lower(recipient) = lower($2))
     order by created_at desc, id
     limit $3
    """,
)

STATE = Query(
    OutboxState,
    """
    select count(*) filter (where state = 'waiting') as waiting,
           extract(epoch from clock_timestamp() - min(created_at) filter (where state = 'waiting'))::float8
               as oldest_s,
           count(*) filter (where state = 'failed' and created_at > clock_timestamp() - interval '1 day') as failed
      from kaixu.mail
     where state = 'waiting' or created_at > clock_timestamp() - interval '1 day'
    """,
)


async def claim_mails(db: Connection, *, lease_s: float, most: int) -> list[DueMail]:
    """Claim mails that are due. Each is due again after `lease_s`, unless its attempt is recorded before."""
    return await CLAIM.all(db, float(lease_s), most)


async def give_up_late_mails(db: Connection) -> None:
    """End mails that nobody needs any more."""
    await db.execute(
        """
        update kaixu.mail
           set state = 'failed', next_attempt_at = null, sealed = null,
               last_error = coalesce('not sent in time; before that: ' || last_error, 'not sent in time')
         where state = 'waiting' and send_before <= clock_timestamp()
        """
    )


async def record_sent(db: Connection, mail: DueMail) -> None:
    """End a mail that the server has taken. Its content is removed."""
    await db.execute(
        """
        update kaixu.mail
           set state = 'sent', sent_at = clock_timestamp(), next_attempt_at = null, last_error = null,
               body_text = null, body_html = null, sealed = null
         where id = $1 and state <> 'sent'
        """,
        mail.id,
    )


async def record_failed(db: Connection, mail: DueMail, *, error: str, retry_in_s: float | None) -> None:
    """Plan the next attempt, or with None give up. An attempt whose lease ran out changes nothing."""
    await db.execute(
        """
        update kaixu.mail
           set next_attempt_at = clock_timestamp() + make_interval(secs => $3::float8),
               state = case when $3::float8 is null then 'failed' else 'waiting' end,
               last_error = $4
         where id = $1 and attempts = $2 and state = 'waiting'
        """,
        mail.id,
        mail.attempt,
        retry_in_s,
        error,
    )


async def retry_mail(db: Connection, mail_id: UUID) -> bool:
    """Try a mail again that was given up; False: there is no such mail, or nothing is left to send."""
    status = await db.execute(
        """
        update kaixu.mail
           set state = 'waiting', attempts = 0, next_attempt_at = clock_timestamp()
         where id = $1 and state = 'failed' and (body_text is not null or sealed is not null)
           and coalesce(send_before, 'infinity') > clock_timestamp()
        """,
        mail_id,
    )
    return status.endswith(" 1")


async def list_mails(db: Connection, *, state: str | None, recipient: str | None, limit: int) -> list[ListedMail]:
    """Mails, newest first, without their content."""
    return await LISTED.all(db, state, recipient, limit)


async def outbox_state(db: Connection) -> OutboxState:
    """How the outbox stands."""
    state = await STATE.one(db)
    assert state is not None
    return state


PRUNE = """
    delete from kaixu.mail
     where id in (select id from kaixu.mail
                   where created_at < now() - make_interval(days => $1)
                   limit $2 for update skip locked)
"""


async def prune_mails(db: Connection, *, days: int) -> int:
    """Remove mails this old, sent or not; return how many."""
    return await delete_in_batches(db, PRUNE, days, ROWS_AT_ONCE, at_once=ROWS_AT_ONCE)
