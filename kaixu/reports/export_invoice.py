"""The lines of an invoice export: the month's total, and each key's part of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from datetime import date

import msgspec

from kaixu.config.price import in_cents, usd
from kaixu.store.invoices import in_force
from kaixu.store.query import Connection, Query

from .table import cell_text, guarded

#: The columns that somebody may have chosen; the others are numbers and fixed words.
TEXTS = frozenset({"key_last4", "label"})


class KeyLine(msgspec.Struct, frozen=True):
    """The month of a key chain, with its newest key."""

    key_id: int
    chain_id: int
    key_last4: str
    label: str
    spent_nusd: int
    calls: int
    input_tokens: int
    output_tokens: int


class InvoiceLine(msgspec.Struct, frozen=True):
    """One line. The total has no key."""

    type: str
    api_key_id: int | None
    key_last4: str | None
    spent_cents: int
    total_tokens: int
    label: str | None
    calls: int
    input_tokens: int
    output_tokens: int
    spent_usd: str
    spent_nusd: int


KEY_LINES = Query(
    KeyLine,
    """
    select k.id as key_id, k.chain_id, k.key_last4, k.label, coalesce(m.spent_nusd, 0) as spent_nusd,
           coalesce(m.calls, 0) as calls, coalesce(m.input_tokens, 0) as input_tokens,
           coalesce(m.output_tokens, 0) as output_tokens
      from (select distinct on (v.chain_id) v.chain_id, v.id, v.key_last4, v.label
              from kaixu.virtual_key v
             where v.customer_id = $1 and ($3::bigint is null or v.chain_id = $3)
             order by v.chain_id, v.id desc) k
      left join (select b.chain_id, sum(b.spent_nusd)::bigint as spent_nusd, sum(b.calls)::bigint as calls,
                        sum(b.input_tokens)::bigint as input_tokens, sum(b.output_tokens)::bigint as output_tokens
                   from kaixu.key_month b
                  where b.customer_id = $1 and b.month = $2
                  group by b.chain_id) m on m.chain_id = k.chain_id
     order by 5 desc, k.id
    """,
)


class KeyChain(msgspec.Struct, frozen=True):
    """A key and its chain."""

    key_id: int
    chain_id: int


CHAINS = Query(KeyChain, "select id as key_id, chain_id from kaixu.virtual_key where customer_id = $1")


async def chains_of(db: Connection, customer_id: int) -> dict[int, int]:
    """The chain of each of a customer's keys."""
    return {row.key_id: row.chain_id for row in await CHAINS.all(db, customer_id)}


async def invoice_lines(db: Connection, customer_id: int, month: date, chain_id: int | None) -> list[InvoiceLine]:
    """The total and a line for each key, by spending; with `chain_id` only that key's, and its total.

    They are those of the month's invoice; without one, of the month as it is now.
    """
    keys = await KEY_LINES.all(db, customer_id, month, chain_id)
    issued = await in_force(db, customer_id, month)
    if issued is not None:
        chosen = None if chain_id is None else {key.chain_id for key in keys}
        chains = await chains_of(db, customer_id)
        return lines_of_snapshot(msgspec.json.decode(issued.snapshot, type=Snapshot), chains, chosen)
    cents = in_cents([key.spent_nusd for key in keys])
    return with_total([line_of(key, spent_cents) for key, spent_cents in zip(keys, cents, strict=True)])


class SnapshotKey(msgspec.Struct, frozen=True):
    """A key in an invoice's snapshot."""

    api_key_id: int
    key_last4: str
    label: str
    spent_cents: int
    spent_nusd: int
    input_tokens: int
    output_tokens: int
    calls: int


class Snapshot(msgspec.Struct, frozen=True):
    """What an export needs of an invoice's snapshot."""

    keys: list[SnapshotKey]


def lines_of_snapshot(
    snapshot: Snapshot, chains: Mapping[int, int], chosen: Collection[int] | None
) -> list[InvoiceLine]:
    """The lines of an invoice; only of `chosen` key chains. `chains`: the chain of each key."""
    keys = [key for key in snapshot.keys if chosen is None or chains.get(key.api_key_id) in chosen]
    return with_total(
        [
            line_of(
                KeyLine(
                    key.api_key_id, 0, key.key_last4, key.label, key.spent_nusd, key.calls, key.input_tokens,
                    key.output_tokens,
                ),
                key.spent_cents,
            )
            for key in keys
        ]
    )  # fmt: skip


def with_total(lines: list[InvoiceLine]) -> list[InvoiceLine]:
    """The lines with their total first."""
    total = InvoiceLine(
        "TOTAL",
        None,
        None,
        sum(line.spent_cents for line in lines),
        sum(line.total_tokens for line in lines),
        None,
        sum(line.calls for line in lines),
        sum(line.input_tokens for line in lines),
        sum(line.output_tokens for line in lines),
        usd(sum(line.spent_nusd for line in lines)),
        sum(line.spent_nusd for line in lines),
    )
    return [total, *lines]


def line_of(key: KeyLine, spent_cents: int) -> InvoiceLine:
    """A key's line."""
    return InvoiceLine(
        "KEY",
        key.key_id,
        key.key_last4,
        spent_cents,
        key.input_tokens + key.output_tokens,
        key.label,
        key.calls,
        key.input_tokens,
        key.output_tokens,
        usd(key.spent_nusd),
        key.spent_nusd,
    )


def encode_csv(lines: Sequence[InvoiceLine], columns: Sequence[str]) -> bytes:
    """The lines as CSV, without a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for one in lines:
        writer.writerow(
            [guarded(cell_text(getattr(one, name))) if name in TEXTS else getattr(one, name) for name in columns]
        )
    return out.getvalue().encode()


def encode_ndjson(lines: Sequence[InvoiceLine], columns: Sequence[str]) -> bytes:
    """The lines as JSON, one on each line."""
    return b"".join(msgspec.json.encode({name: getattr(one, name) for name in columns}) + b"\n" for one in lines)
