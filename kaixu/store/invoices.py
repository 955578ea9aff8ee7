"""Invoices as they are stored: what is billed, what was billed, and what is issued."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import msgspec

from .query import Connection, Query


class Close(msgspec.Struct, frozen=True):
    """Whether a month can be billed: 'open', 'waiting' or 'ready', and the calls that it waits for."""

    state: str
    open_calls: int
    lost_calls: int


class Figure(msgspec.Struct, frozen=True):
    """Usage of a month by key chain, or (`billed`) the negative of what invoices in force bill for it."""

    billed: bool
    month: date
    book: str
    provider: str
    model: str
    chain_id: int
    calls: int
    input_tokens: int
    output_tokens: int
    amount_nusd: int


class Stored(msgspec.Struct, frozen=True):
    """An issued invoice or credit note, without its PDF."""

    id: int
    kind: str
    customer_id: int
    month: date
    attempt: int
    credited_id: int | None
    series: str
    number: int
    name: str
    net_nusd: int
    net_cents: int
    tax_cents: int
    total_cents: int
    credited_lines: list[int]
    snapshot: str
    sha256: str
    pdf_sha256: str
    actor: str
    issued_at: datetime
    voided_at: datetime | None
    void_reason: str | None


class Line(msgspec.Struct, frozen=True):
    """What an invoice bills for a model's usage of a month."""

    line: int
    month: date
    book: str
    provider: str
    model: str
    amount_nusd: int


class Issue(msgspec.Struct, frozen=True):
    """A new invoice or credit note."""

    kind: str
    customer_id: int
    month: date
    attempt: int
    credited_id: int | None
    series: str
    number: int
    name: str
    net_nusd: int
    net_cents: int
    tax_cents: int
    total_cents: int
    credited_lines: list[int]
    snapshot: str
    sha256: str
    pdf: bytes
    pdf_sha256: str
    actor: str
    issued_at: datetime
    idempotency_key: str | None = None


class Draft(msgspec.Struct, frozen=True):
    """That a draft was made, and when it was renewed last."""

    created_at: datetime
    updated_at: datetime


class KeyName(msgspec.Struct, frozen=True):
    """The newest key of a chain."""

    chain_id: int
    key_id: int
    key_last4: str
    label: str


class Payment(msgspec.Struct, frozen=True):
    """A top-up of a month."""

    id: int
    amount_nusd: int
    source: str
    status: str
    reference: str | None
    created_at: datetime


class Forgiven(msgspec.Struct, frozen=True):
    """What credit notes have taken back of the invoice in force of a month."""

    month: date
    net_nusd: int


class Due(msgspec.Struct, frozen=True):
    """A customer's month with something to bill."""

    customer_id: int
    month: date


class Number(msgspec.Struct, frozen=True):
    """The id of a row."""

    id: int


CLOSE = Query(
    Close,
    """
    select state, open_calls, lost_calls
      from kaixu.month_close(p_customer_id => $1, p_month => $2, p_lost_wait_h => $3)
    """,
)

# What was spent at another gateway before an import was billed there (docs/decisions/0036).
# One statement, so that usage and what was billed are of one moment. Other months that were billed are read only if
# their sums differ; grouped in a lateral join, so that of the events only the partitions of these months are read.
FIGURES = Query(
    Figure,
    """
    with in_force as (
        select i.id, i.month
          from kaixu.invoice i
         where i.customer_id = $1 and i.kind = 'invoice'
           and not exists (select 1 from kaixu.invoice_void v where v.invoice_id = i.id)
    ), billed as (
        select l.month, l.book, l.provider, l.model, sum(l.amount_nusd)::bigint as amount_nusd
          from kaixu.invoice_line l
          join in_force i on i.id = l.invoice_id
         group by 1, 2, 3, 4
    ), months as (
        select $2::date as month
        union
        select i.month
          from in_force i
         where (select coalesce(sum(m.spent_nusd), 0) from kaixu.customer_month m
                 where m.customer_id = $1 and m.month = i.month and m.book <> 'import')
            <> (select coalesce(sum(b.amount_nusd), 0) from billed b where b.month = i.month)
    )
    select false as billed, m.month, e.book, e.provider, e.model, e.chain_id, e.calls, e.input_tokens,
           e.output_tokens, e.amount_nusd
      from months m
     cross join lateral (select x.book, x.provider, x.model, x.chain_id, count(*) as calls,
                                sum(x.input_tokens)::bigint as input_tokens,
                                sum(x.output_tokens)::bigint as output_tokens, sum(x.cost_nusd)::bigint as amount_nusd
                           from kaixu.usage_event x
                          where x.customer_id = $1 and x.month = m.month and x.book <> 'import'
                          group by x.book, x.provider, x.model, x.chain_id) e
    union all
    select true, b.month, b.book, b.provider, b.model, 0, 0, 0, 0, -b.amount_nusd
      from billed b
     where b.month in (select m.month from months m)
     order by 2, 3, 4, 5, 6, 1
    """,
)

#: The columns of `Stored`.
STORED = """
    select i.id, i.kind, i.customer_id, i.month, i.attempt, i.credited_id, i.series, i.number, i.name, i.net_nusd,
           i.net_cents, i.tax_cents, i.total_cents, i.credited_lines, i.snapshot, i.sha256, i.pdf_sha256, i.actor,
           i.issued_at, v.voided_at, v.reason as void_reason
      from kaixu.invoice i
      left join kaixu.invoice_void v on v.invoice_id = i.id
"""

IN_FORCE = Query(
    Stored,
    f"{STORED} where i.customer_id = $1 and i.month = $2 and i.kind = 'invoice' and v.invoice_id is null",
)
BY_NAME = Query(Stored, f"{STORED} where i.name = $1")
BY_ID = Query(Stored, f"{STORED} where i.id = $1")
CREDITS = Query(Stored, f"{STORED} where i.credited_id = $1 order by i.attempt")
BY_KEY = Query(Stored, f"{STORED} where i.customer_id = $1 and i.idempotency_key = $2")
#: A page of the list, newest first. The snapshots are long and not shown there.
PAGE = STORED.replace("i.snapshot", "'' as snapshot")
FILTER = """
       and ($2::date is null or i.month = $2)
       and ($3::bigint is null or i.id < $3)
       and ($4::text is null or $4 = case when v.invoice_id is not null then 'void' else 'final' end)
       and ($5::text is null or i.kind = $5)
     order by i.id desc
     limit $6
"""
LIST_ALL = Query(Stored, f"{PAGE} where $1::bigint is null {FILTER}")
LIST_OF_CUSTOMER = Query(Stored, f"{PAGE} where i.customer_id = $1 {FILTER}")

LINES = Query(
    Line,
    """
    select line, month, book, provider, model, amount_nusd
      from kaixu.invoice_line where invoice_id = $1 order by line
    """,
)

INSERT = Query(
    Number,
    """
    insert into kaixu.invoice (kind, customer_id, month, attempt, credited_id, series, number, name, net_nusd,
                               net_cents, tax_cents, total_cents, credited_lines, snapshot, sha256, pdf,
                               pdf_sha256, actor, issued_at, idempotency_key)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
    returning id
    """,
)

DRAFT = Query(Draft, "select created_at, updated_at from kaixu.invoice_draft where customer_id = $1 and month = $2")
RENEW_DRAFT = Query(
    Draft,
    """
    insert into kaixu.invoice_draft (customer_id, month) values ($1, $2)
    on conflict (customer_id, month) do update set updated_at = now()
    returning created_at, updated_at
    """,
)

FORGIVEN = Query(
    Forgiven,
    """
    select i.month, sum(n.net_nusd)::bigint as net_nusd
      from kaixu.invoice n
      join kaixu.invoice i on i.id = n.credited_id
     where n.customer_id = $1 and n.kind = 'credit_note'
       and not exists (select 1 from kaixu.invoice_void v where v.invoice_id = i.id)
     group by i.month
    """,
)

KEY_NAMES = Query(
    KeyName,
    """
    select distinct on (chain_id) chain_id, id as key_id, key_last4, label
      from kaixu.virtual_key where customer_id = $1 order by chain_id, id desc
    """,
)

KEYS_OF_CHAIN = Query(Number, "select id from kaixu.virtual_key where chain_id = $1")

PAYMENTS = Query(
    Payment,
    """
    select id, amount_nusd, source, status, reference, created_at
      from kaixu.topup where customer_id = $1 and month = $2 order by id
    """,
)

# Months with spending, and without an invoice in force.
DUE = Query(
    Due,
    """
    select m.customer_id, m.month
      from kaixu.customer_month m
     where m.month < $1 and (m.customer_id, m.month) > ($2::bigint, $3::date) and m.book <> 'import'
       and not exists (select 1 from kaixu.invoice i
                        where i.customer_id = m.customer_id and i.month = m.month and i.kind = 'invoice'
                          and not exists (select 1 from kaixu.invoice_void v where v.invoice_id = i.id))
     group by m.customer_id, m.month
    having sum(m.spent_nusd) > 0
     order by m.customer_id, m.month
     limit $4
    """,
)


#: How long a transaction may be idle while a PDF is made. It holds no lock that calls wait for.
IDLE_S = 60


async def lock_billing(db: Connection, customer_id: int) -> bool:
    """Let this transaction alone work on a customer's invoices. False: there is no such customer."""
    # Many lines, or a busy machine, take longer than the gateway's transactions usually may be idle.
    await db.execute(f"set local idle_in_transaction_session_timeout = '{IDLE_S}s'")
    exists: bool = await db.fetchval("select kaixu.lock_billing(p_customer_id => $1)", customer_id)
    return exists


async def take_number(db: Connection, series: str) -> int:
    """The next number of a series; others wait until the transaction ends."""
    number: int = await db.fetchval("select kaixu.take_invoice_number(p_series => $1)", series)
    return number


async def close_of(db: Connection, customer_id: int, month: date, *, lost_wait_h: int) -> Close:
    """Whether a month can be billed."""
    close = await CLOSE.one(db, customer_id, month, lost_wait_h)
    assert close is not None
    return close


async def earlier_attempts(db: Connection, customer_id: int, month: date) -> int:
    """How many invoices a month has had."""
    count: int = await db.fetchval(
        "select count(*) from kaixu.invoice where customer_id = $1 and month = $2 and kind = 'invoice'",
        customer_id,
        month,
    )
    return count


async def insert(db: Connection, issue: Issue, lines: list[Line]) -> int:
    """Store what is issued, with its lines; return its id."""
    made = await INSERT.one(db, *INSERT.values(issue))
    assert made is not None
    if lines:
        await db.execute(
            """
            insert into kaixu.invoice_line (invoice_id, line, customer_id, month, book, provider, model, amount_nusd)
            select $1, u.line, $2, u.month, u.book, u.provider, u.model, u.amount_nusd
              from unnest($3::int[], $4::date[], $5::text[], $6::text[], $7::text[], $8::bigint[])
                   u (line, month, book, provider, model, amount_nusd)
            """,
            made.id,
            issue.customer_id,
            [one.line for one in lines],
            [one.month for one in lines],
            [one.book for one in lines],
            [one.provider for one in lines],
            [one.model for one in lines],
            [one.amount_nusd for one in lines],
        )
    return made.id


async def insert_void(db: Connection, invoice_id: int, *, reason: str, actor: str) -> None:
    """Void an invoice."""
    await db.execute(
        "insert into kaixu.invoice_void (invoice_id, reason, actor) values ($1, $2, $3)", invoice_id, reason, actor
    )


async def pdf_of(db: Connection, invoice_id: int) -> bytes:
    """The PDF as it was issued."""
    pdf: bytes = await db.fetchval("select pdf from kaixu.invoice where id = $1", invoice_id)
    return pdf


async def in_force(db: Connection, customer_id: int, month: date) -> Stored | None:
    """The invoice of a month that is not void."""
    return await IN_FORCE.one(db, customer_id, month)


async def snapshot_keys(db: Connection, customer_id: int, month: date) -> list[dict[str, Any]] | None:
    """The figures of each key as they were issued; None for a month without an invoice in force."""
    stored = await in_force(db, customer_id, month)
    if stored is None:
        return None
    keys: list[dict[str, Any]] = msgspec.json.decode(stored.snapshot)["keys"]
    return keys


async def keys_of_chain(db: Connection, chain_id: int) -> list[int]:
    """The ids of a chain's keys."""
    return [row.id for row in await KEYS_OF_CHAIN.all(db, chain_id)]


async def list_page(
    db: Connection,
    *,
    customer_id: int | None,
    month: date | None,
    before_id: int | None,
    status: str | None,
    kind: str | None,
    limit: int,
) -> list[Stored]:
    """Issued invoices and credit notes, newest first, without their snapshots."""
    query = LIST_ALL if customer_id is None else LIST_OF_CUSTOMER
    return await query.all(db, customer_id, month, before_id, status, kind, limit)
