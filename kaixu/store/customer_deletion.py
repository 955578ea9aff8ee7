"""The deletion of customers: what happens to each table that names them, in small steps that may be repeated.

Every table with a column that names a customer, a key or a chain is in `TABLES`; a test compares it with the database.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from .query import Connection, DatabaseSession, Query

#: "removed": the rows of the customer. "stripped": what can tell whose they are, or what was said. "kept": as they are.
Treatment = Literal["removed", "stripped", "kept"]


class Decision(msgspec.Struct, frozen=True):
    """What deletion does with a table, and why."""

    treatment: Treatment
    why: str


def removed(why: str) -> Decision:
    """The customer's rows are removed."""
    return Decision("removed", why)


def stripped(why: str) -> Decision:
    """The rows stay without what tells whose they are."""
    return Decision("stripped", why)


def kept(why: str) -> Decision:
    """The rows stay as they are."""
    return Decision("kept", why)


TABLES: dict[str, Decision] = {
    "alert": removed("alerts of the account"),
    "alert_sent": removed("alerts of the account"),
    "alert_webhook": removed("where the customer gets alerts"),
    "app_month": removed("names of the customer's programs"),
    "balance_watch": removed("below which balances integrations react"),
    "audit_event": kept("who changed what: the log is never changed, and its retention is the operator's to decide"),
    "batch": removed("requests in files, and their metadata"),
    "billing_account": stripped("the lock of the customer's invoices; name, address and tax id are removed"),
    "blob": removed("files that the customer has uploaded; the gateway removes them from the store of blobs"),
    "book_alert": removed("alerts of the account"),
    "book_month": kept("which price list a month was billed by"),
    "callback_state": removed("what integrations have begun at vendors for the customer"),
    "cap_alert": removed("alerts of the account"),
    "cap_check": removed("alerts of the account"),
    "charge_note": removed("what integrations are about to charge, for a minute"),
    "collection": removed("with their documents"),
    "crossing": removed("what integrations have reacted to"),
    "customer": stripped("invoices and sums name its id; address, plan and limits are removed"),
    "customer_deletion": kept("that it was deleted, by whom and when"),
    "customer_month": kept("sums of money and tokens, which roll-ups and reports add up to"),
    "device": removed("install ids and user agents"),
    "document": removed("the customer's texts"),
    "end_user_cap": removed("names of the customer's users"),
    "end_user_month": removed("names of the customer's users"),
    "file": removed("the customer's files"),
    "gateway_event": removed("monitor events: addresses as hashes, user agents, errors"),
    "gateway_event_before": removed("the same, from before the partitions"),
    "imported": kept("a hash of its id at another gateway, so that a repeated import does not bring it back"),
    "integration_message": removed("messages of integrations to the customer"),
    "integration_secret": removed("tokens that the customer gave to integrations"),
    "integration_setting": removed("the customer's settings of integrations"),
    "invoice": kept("issued invoices are never changed; the law says how long they are kept"),
    "invoice_draft": removed("drafts"),
    "invoice_line": kept("what invoices bill"),
    "job": removed("requests and results"),
    "key_group": removed("names of groups of keys, and their limits"),
    "key_month": kept("sums of money and tokens, which the customer's months add up to"),
    "key_request": removed("addresses that keys were requested for"),
    "keyed_charge": stripped("bills prove invoices and sums; the integration's keys, devices and programs are removed"),
    "limit_use": removed("when the keys were used"),
    "mail": removed("mails to the customer"),
    "operation_call": removed("which operations of integrations have begun"),
    "operation_window": removed("when operations of integrations were called"),
    "operator": kept("an operator, not a customer"),
    "operator_session": kept("an operator's"),
    "plugin_blob_access": removed("which files integrations use, for a minute"),
    "plugin_job": removed("requests of integrations"),
    "plugin_job_access": removed("which jobs integrations look at, for a minute"),
    "rate_window": removed("when the keys were used, and the last device"),
    "reading_window": removed("when the keys were used"),
    "receiver_failure": removed("failures of the customer's webhook"),
    "redemption_code": kept("that a code was redeemed, for its batch"),
    "reembedding": removed("work on the collections"),
    "refusal_quarter": kept("numbers of refused calls, which reports add up to"),
    "reservation": kept("there are none: deletion waits for calls in flight"),
    "response": removed("cached answers"),
    "selfservice_account": removed("the address that requested the account's key"),
    "topup": kept("payments: a month's cap and its invoice add up with them"),
    "usage_change": kept("numbers that roll-ups are made from"),
    "usage_event": stripped("bills prove invoices and sums; request ids, devices, programs and users are removed"),
    "usage_series": kept("roll-ups: numbers"),
    "virtual_key": stripped("usage events name its id; hash, last four characters, label and limits are removed"),
    "webhook_delivery": removed("alerts to the customer's webhook"),
}

#: The columns that name a customer, or what belongs to one.
NAMING = ("customer_id", "account", "chain_id", "key_id", "user_id", "billed_customer_id")

#: What `request_id` of a stripped usage event is.
NO_REQUEST = "deleted"

#: Rows of one step, each a transaction.
AT_ONCE = 2000

#: Tables whose rows are found by customer and removed, those first that others are needed to find.
BY_CUSTOMER = (
    "job",
    "batch",
    "file",
    "plugin_job",
    "plugin_job_access",
    "charge_note",
    "plugin_blob_access",
    "callback_state",
    "response",
    "device",
    "end_user_cap",
    "end_user_month",
    "app_month",
    "alert_sent",
    "rate_window",
    "reading_window",
    "operation_call",
    "operation_window",
    "invoice_draft",
    "limit_use",
    "key_group",
    "mail",
    "key_request",
    "selfservice_account",
    "alert",
    "alert_webhook",
    "cap_alert",
    "book_alert",
    "cap_check",
    "receiver_failure",
    "reembedding",
    "gateway_event_before",
    "integration_message",
    "integration_secret",
    "integration_setting",
    "balance_watch",
    "crossing",
)


#: Tables that are written under the customer's row only. Collections and jobs are locked before it, never after.
UNDER_CUSTOMER = frozenset(
    {
        "device",
        "end_user_cap",
        "end_user_month",
        "app_month",
        "alert_sent",
        "rate_window",
        "reading_window",
        "operation_call",
        "operation_window",
        "limit_use",
        "key_group",
        "usage_event",
        "keyed_charge",
        "integration_message",
        "integration_secret",
        "integration_setting",
        "balance_watch",
    }
)

#: Tables to which something may come late: an event or a cached answer that a process had in its memory, a bill from a
#: spool, what a request that was let in before stores at its end.
LATE = (
    "job",
    "batch",
    "file",
    "response",
    "end_user_month",
    "app_month",
    "gateway_event",
    "usage_event",
    "webhook_delivery",
    "blob",
    "mail",
    "alert",
    "cap_alert",
    "book_alert",
    "cap_check",
    "receiver_failure",
)


def remove_sql(table: str) -> str:
    """Remove some rows of a customer."""
    return (
        f"delete from kaixu.{table} t where t.ctid = any (array("  # noqa: S608 - a constant
        f"select s.ctid from kaixu.{table} s where s.customer_id = $1 limit $2))"
    )


#: Statements by table: each takes the customer and the most rows, and is repeated until it finds none.
STEPS: dict[str, str] = {
    "blob": """
        with gone as (
            delete from kaixu.blob b
             where b.id = any (array(select s.id from kaixu.blob s where s.customer_id = $1 limit $2))
            returning b.id, b.store_id
        )
        insert into kaixu.blob_removal (blob_id, store_id)
        select g.id, g.store_id from gone g
            on conflict (blob_id) do update set since = excluded.since
    """,
    "collection": """
        with locked as (
            select c.id from kaixu.collection c
             where c.customer_id = $1 and (c.deleted_at is null or c.name <> 'deleted-' || c.id)
             order by c.id limit $2 for update
        )
        update kaixu.collection c
           set deleted_at = coalesce(c.deleted_at, clock_timestamp()), vectors = 0, name = 'deleted-' || c.id
          from locked l
         where c.id = l.id
    """,
    "document": """
        delete from kaixu.document d
         where (d.collection_id, d.doc_id, d.chunk) in (
                   select x.collection_id, x.doc_id, x.chunk
                     from kaixu.document x
                     join kaixu.collection c on c.id = x.collection_id
                    where c.customer_id = $1
                    order by x.collection_id, x.doc_id, x.chunk
                    limit $2
                      for update of x skip locked)    -- the gateway removes rows of deleted collections, too
    """,
    "webhook_delivery": """
        delete from kaixu.webhook_delivery t
         where t.ctid = any (array(
                   select s.ctid
                     from kaixu.webhook_delivery s
                    where s.customer_id = $1
                       or s.alert_id in (select a.id from kaixu.alert a where a.customer_id = $1)
                    limit $2))
    """,
    **{table: remove_sql(table) for table in BY_CUSTOMER},
    "gateway_event": """
        delete from kaixu.gateway_event e
         using (select s.created_at, s.id from kaixu.gateway_event s where s.customer_id = $1 limit $2) o
         where e.created_at = o.created_at and e.id = o.id
    """,
    "billing_account": """
        update kaixu.billing_account b
           set name = null, address = '{}', country = null, tax_id = null, email = null, tax_rate = null,
               tax_note = null, updated_at = now()
         where b.customer_id = $1 and $2::bigint > 0
           and (b.name, b.country, b.tax_id, b.email, b.tax_rate, b.tax_note) is distinct from
               (null::text, null::text, null::text, null::text, null::integer, null::text)
    """,
    "keyed_charge": f"""
        with named as (
            select s.ticket
              from kaixu.keyed_charge s
             where s.customer_id = $1 and s.key <> '{NO_REQUEST}' and not s.is_monthly
             limit $2
        )
        update kaixu.keyed_charge k
           set key = '{NO_REQUEST}', install_id = null, app_id = null, build_id = null
          from named s
         where k.ticket = s.ticket
    """,  # noqa: S608 - a constant
    "usage_event": f"""
        with named as (
            select s.month, s.ticket
              from kaixu.usage_event s
             where s.customer_id = $1 and (s.request_id <> '{NO_REQUEST}' or s.install_id is not null
                   or s.app_id is not null or s.build_id is not null or s.end_user is not null)
             limit $2
        )
        update kaixu.usage_event e
           set request_id = '{NO_REQUEST}', install_id = null, app_id = null, build_id = null, end_user = null
          from named s
         where e.month = s.month and e.ticket = s.ticket
    """,  # noqa: S608 - a constant
}


class Begun(msgspec.Struct, frozen=True):
    """What schema/functions/begin_deletion.sql did. `refused` is a code, or None."""

    refused: str | None
    waiting: int
    began: bool


class Deletion(msgspec.Struct, frozen=True):
    """A deletion: how many rows of which tables are gone or stripped. `finished_at` None: it goes on."""

    customer_id: int
    actor: str
    began_at: datetime
    removed: dict[str, int]
    finished_at: datetime | None


BEGIN = Query(Begun, "select refused, waiting, began from kaixu.begin_deletion(p_customer_id => $1, p_actor => $2)")

DELETION = Query(
    Deletion,
    "select customer_id, actor, began_at, removed, finished_at from kaixu.customer_deletion where customer_id = $1",
)

LOCKED = Query(
    Deletion,
    """
    select customer_id, actor, began_at, removed, finished_at from kaixu.customer_deletion where customer_id = $1
       for update
    """,
)

# What a call or an event left behind in a process's memory may be written after the deletion.
UNFINISHED = Query(
    Deletion,
    """
    select customer_id, actor, began_at, removed, finished_at
      from kaixu.customer_deletion
     where finished_at is null or began_at > now() - interval '3 days'
     order by customer_id
    """,
)


class Owned(msgspec.Struct, frozen=True):
    """What a customer has, and what of it has not been billed. Money is in nano-dollars."""

    keys: int
    devices: int
    collections: int
    documents: int
    jobs: int
    files: int
    monitor_events: int
    usage_events: int
    invoices: int
    in_flight: int
    unended_jobs: int
    spent_nusd: int
    billed_nusd: int


OWNED = Query(
    Owned,
    """
    select (select count(*) from kaixu.virtual_key k where k.customer_id = $1) as keys,
           (select count(*) from kaixu.device d where d.customer_id = $1) as devices,
           (select count(*) from kaixu.collection c
             where c.customer_id = $1 and c.deleted_at is null and c.replaces_id is null) as collections,
           (select coalesce(sum(c.vectors), 0)::bigint from kaixu.collection c
             where c.customer_id = $1 and c.deleted_at is null) as documents,
           (select count(*) from kaixu.job j where j.customer_id = $1) as jobs,
           (select count(*) from kaixu.file f where f.customer_id = $1) as files,
           (select count(*) from kaixu.gateway_event e where e.customer_id = $1) as monitor_events,
           (select count(*) from kaixu.usage_event e where e.customer_id = $1) as usage_events,
           (select count(*) from kaixu.invoice i where i.customer_id = $1) as invoices,
           (select count(*) from kaixu.reservation r where r.customer_id = $1) as in_flight,
           (select count(*) from kaixu.job j where j.customer_id = $1 and j.completed_at is null) as unended_jobs,
           (select coalesce(sum(m.spent_nusd), 0)::bigint from kaixu.customer_month m
             where m.customer_id = $1 and m.book <> 'import') as spent_nusd,    -- billed by the other gateway
           (select coalesce(sum(l.amount_nusd), 0)::bigint
              from kaixu.invoice_line l
              join kaixu.invoice i on i.id = l.invoice_id and i.kind = 'invoice'
             where l.customer_id = $1
               and not exists (select from kaixu.invoice_void v where v.invoice_id = i.id)) as billed_nusd
    """,
)


async def begin_deletion(db: Connection, customer_id: int, actor: str) -> Begun:
    """Make a customer anonymous and refuse its calls, or say why not."""
    begun = await BEGIN.one(db, customer_id, actor)
    assert begun is not None
    return begun


async def owned(db: Connection, customer_id: int) -> Owned:
    """What a customer has."""
    row = await OWNED.one(db, customer_id)
    assert row is not None
    return row


async def deletion(db: Connection, customer_id: int) -> Deletion | None:
    """The deletion of a customer."""
    return await DELETION.one(db, customer_id)


async def unfinished(db: Connection) -> list[Deletion]:
    """Deletions that were interrupted, and those whose customers may still get rows from calls that had ended."""
    return await UNFINISHED.all(db)


async def is_reacted_to(db: Connection, customer_id: int) -> bool:
    """Whether integrations still react to the deletion, which has begun within the last day."""
    waits: bool = await db.fetchval(
        """
        select exists (select
                         from kaixu.crossing c
                         join kaixu.job j on j.id = c.id and j.completed_at is null
                         join kaixu.customer_deletion d on d.customer_id = c.customer_id
                        where c.customer_id = $1 and c.event = 'customer_deleted'
                          and d.began_at > now() - interval '1 day')
        """,
        customer_id,
    )
    return waits


async def take_step(db: DatabaseSession, customer_id: int, table: str) -> int:
    """Remove, or strip, some rows of a table; how many. The rows and their count are one transaction."""
    async with db.transaction():
        if await LOCKED.one(db, customer_id) is None:
            return 0
        if table in UNDER_CUSTOMER:
            await db.execute("select from kaixu.customer where id = $1 for no key update", customer_id)
        status = await db.execute(STEPS[table], customer_id, AT_ONCE)
        count = int(status.rpartition(" ")[2])
        if count:
            await db.execute(
                """
                update kaixu.customer_deletion d
                   set removed = d.removed || jsonb_build_object(
                                     $2::text, coalesce((d.removed ->> $2)::bigint, 0) + $3::bigint)
                 where d.customer_id = $1
                """,
                customer_id,
                table,
                count,
            )
    return count


async def forget_tries(db: Connection, customer_id: int) -> None:
    """Forget the redemption codes that a customer tried."""
    await db.execute(
        "delete from kaixu.redemption_try where subject = convert_to('customer:' || $1::bigint, 'UTF8')", customer_id
    )


async def finish(db: Connection, customer_id: int) -> bool:
    """Note that a deletion has ended; whether it had not before."""
    status = await db.execute(
        "update kaixu.customer_deletion set finished_at = now() where customer_id = $1 and finished_at is null",
        customer_id,
    )
    return status == "UPDATE 1"
