"""Alerts: raised in the transaction that decides them, and handed to the outboxes of their receivers once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from .pool import database
from .pruning import delete_in_batches
from .query import Connection, Query

#: The receiver behind ALERT_WEBHOOK_URL, in `kaixu.webhook_delivery`; those of kaixu.yaml are `alerts:NAME`.
ALERTS = "alerts"

#: So long an alert with a name is kept at least: its name is what keeps it from being raised again.
NAMED_DAYS = 100

#: Rows removed in one statement.
ROWS_AT_ONCE = 1000


class RaisedAlert(msgspec.Struct, frozen=True):
    """An alert that is to be dispatched, with what is known of its customer and key.

    `receiver` is the receiver that it is about. `has_webhook`: the customer has a webhook of its own for alerts.
    """

    id: int
    type: str
    customer_id: int | None
    key_id: int | None
    receiver: str | None
    body: dict[str, Any]
    created_at: datetime
    email: str | None
    is_active: bool | None
    alert_mail: bool | None
    has_webhook: bool
    key_last4: str | None
    key_label: str | None


class Delivery(msgspec.Struct, frozen=True):
    """A webhook to be queued for a receiver. `customer_id`: whose receiver it is; None: the operator's."""

    destination: str
    event: str
    body: bytes
    alert_id: int
    customer_id: int | None


class Raised(msgspec.Struct, frozen=True):
    """Whether an alert was raised; False: one of that name was raised before."""

    is_first: bool


class Count(msgspec.Struct, frozen=True):
    """How many alerts were raised."""

    count: int


RAISE = Query(
    Raised,
    """
    select kaixu.raise_alert(p_type => $1, p_body => $2, p_customer_id => $3, p_key_id => $4, p_once => $5) as is_first
    """,
)

CLAIM = Query(
    RaisedAlert,
    """
    with claimed as (
        update kaixu.alert a
           set dispatched_at = clock_timestamp()
         where a.id in (select x.id from kaixu.alert x
                         where x.dispatched_at is null
                         order by x.id limit $1 for update skip locked)
        returning a.*
    )
    select a.id, a.type, a.customer_id, a.key_id, a.receiver, a.body, a.created_at, c.email, c.is_active, c.alert_mail,
           exists (select from kaixu.alert_webhook w where w.customer_id = a.customer_id) as has_webhook,
           k.key_last4, k.label as key_label
      from claimed a
      left join kaixu.customer c on c.id = a.customer_id
      left join kaixu.virtual_key k on k.id = a.key_id
     order by a.id
    """,
)

CHECK_MARGINS = Query(Count, "select kaixu.check_margins(p_least_loss_nusd => $1) as count")


async def raise_alert(
    db: Connection,
    alert_type: str,
    body: dict[str, Any],
    *,
    customer_id: int | None = None,
    key_id: int | None = None,
    once: str | None = None,
) -> bool:
    """Raise an alert in the caller's transaction; with `once`, only the first of that name. Returns whether it was."""
    is_first: bool = await db.fetchval(RAISE.sql, alert_type, body, customer_id, key_id, once)
    return is_first


async def raise_month_closed(db: Connection, month: date, not_issued: Mapping[str, int]) -> None:
    """Raise the alert that a month's invoices are issued, once; nothing while it has none.

    `not_issued`: how many were not, by the reason's code.
    """
    await db.execute(
        """
        select kaixu.raise_alert(
                   p_type => 'MONTH_CLOSED', p_once => 'month_closed:' || to_char($1::date, 'YYYY-MM'),
                   p_body => jsonb_build_object('month', to_char($1::date, 'YYYY-MM'), 'invoices', x.invoices,
                                                'total_cents', x.total_cents, 'not_issued', $2::jsonb))
          from (select count(*) as invoices, coalesce(sum(i.total_cents), 0)::bigint as total_cents
                  from kaixu.invoice i
                 where i.month = $1 and i.kind = 'invoice'
                   and not exists (select from kaixu.invoice_void v where v.invoice_id = i.id)) x
         where x.invoices > 0
        """,
        month,
        dict(not_issued),
    )


async def claim_alerts(db: Connection, *, most: int) -> list[RaisedAlert]:
    """Take alerts that are to be dispatched, oldest first. The caller queues them in the same transaction."""
    return await CLAIM.all(db, most)


async def queue_deliveries(db: Connection, deliveries: Sequence[Delivery]) -> None:
    """Queue webhooks, in the caller's transaction."""
    if deliveries:
        columns = zip(*map(msgspec.structs.astuple, deliveries), strict=True)
        await db.execute(
            """
            insert into kaixu.webhook_delivery (destination, event, body, alert_id, customer_id)
            select a.destination, a.event, a.body, a.alert_id, a.customer_id
              from unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[]) with ordinality
                   a (destination, event, body, alert_id, customer_id, at)
             order by a.at
            """,
            *map(list, columns),
        )


class AlertMail(msgspec.Struct, frozen=True):
    """A mail about an alert to one address. `customer_id`: whom it is about."""

    alert_id: int
    recipient: str
    subject: str
    text: str
    customer_id: int | None


class MailCount(msgspec.Struct, frozen=True):
    """How many mails about alerts an address got within the last hour."""

    recipient: str
    count: int


MAILED = Query(
    MailCount,
    """
    select lower(m.recipient) as recipient, count(*) as count
      from kaixu.mail m
     where m.created_at between clock_timestamp() - interval '1 hour' and clock_timestamp() and m.kind = 'alert'
       and lower(m.recipient) = any ($1::text[])
     group by lower(m.recipient)
    """,
)


async def mailed_lately(db: Connection, recipients: Sequence[str]) -> dict[str, int]:
    """How many mails about alerts these addresses, in lower case, got within the last hour."""
    return {one.recipient: one.count for one in await MAILED.all(db, list(recipients))}


async def queue_mails(db: Connection, mails: Sequence[AlertMail]) -> None:
    """Queue mails, in the caller's transaction; one for each alert and address."""
    if mails:
        columns = zip(*map(msgspec.structs.astuple, mails), strict=True)
        await db.execute(
            """
            with mails as (
                select a.*
                  from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[]) with ordinality
                       a (alert_id, recipient, subject, body, customer_id, at)
            ), mailed as (
                update kaixu.alert x
                   set mailed_to = (select array_agg(a.recipient order by a.at) from mails a where a.alert_id = x.id)
                 where x.id = any ($1)
            )
            select kaixu.enqueue_mail(
                       p_idempotency_key => 'alert:' || a.alert_id || ':' || a.recipient, p_kind => 'alert',
                       p_recipient => a.recipient, p_subject => a.subject, p_text => a.body,
                       p_customer_id => a.customer_id)
              from mails a
             order by a.at
            """,
            *map(list, columns),
        )


async def check_margins(db: Connection, *, least_loss_nusd: int) -> int:
    """Raise the alerts of models and customers that cost more than they bring; return how many.

    Raises `DatabaseAway`.
    """
    with database():
        count: int = await db.fetchval(CHECK_MARGINS.sql, least_loss_nusd)
    return count


PRUNE = """
    delete from kaixu.alert
     where id in (select id from kaixu.alert
                   where created_at < now() - make_interval(days => $1) and dispatched_at is not null
                     and (once is null or created_at < now() - make_interval(days => $3))
                   limit $2 for update skip locked)
"""


async def prune_alerts(db: Connection, *, days: int) -> int:
    """Remove alerts this old; return how many."""
    return await delete_in_batches(db, PRUNE, days, ROWS_AT_ONCE, NAMED_DAYS, at_once=ROWS_AT_ONCE)
