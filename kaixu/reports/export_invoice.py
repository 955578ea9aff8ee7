"""The lines of an invoice export: the month's total, and each key's part of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date

import msgspec

from kaixu.config.price import cents_of_nusd, usd
from kaixu.store.query import Connection, Query

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class KeyLine(msgspec.Struct, frozen=True):
    """The month of a key chain, with its newest key."""

    key_id: int
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


KEY_LINES = Query(
    KeyLine,
    """
    select k.id as key_id, k.key_last4, k.label, coalesce(m.spent_nusd, 0) as spent_nusd,
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
     order by 4 desc, k.id
    """,
)


async def invoice_lines(db: Connection, customer_id: int, month: date, chain_id: int | None) -> list[InvoiceLine]:
    """The total and a line for each key, by spending; with `chain_id` only that key's, and its total."""
    keys = await KEY_LINES.all(db, customer_id, month, chain_id)
    total = KeyLine(
        0,
        "",
        "",
        sum(key.spent_nusd for key in keys),
        sum(key.calls for key in keys),
        sum(key.input_tokens for key in keys),
        sum(key.output_tokens for key in keys),
    )
    return [line("TOTAL", total), *(line("KEY", key) for key in keys)]


def line(kind: str, key: KeyLine) -> InvoiceLine:
    """One line; the total has no key."""
    is_key = kind == "KEY"
    return InvoiceLine(
        kind,
        key.key_id if is_key else None,
        key.key_last4 if is_key else None,
        cents_of_nusd(key.spent_nusd),
        key.input_tokens + key.output_tokens,
        key.label if is_key else None,
        key.calls,
        key.input_tokens,
        key.output_tokens,
        usd(key.spent_nusd),
    )


def guard(value: object) -> object:
    """A cell of a CSV file; text that a spreadsheet would run as a formula gets an apostrophe: kaixu.csv_text."""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value


def encode_csv(lines: Sequence[InvoiceLine], columns: Sequence[str]) -> bytes:
    """The lines as CSV, without a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for one in lines:
        writer.writerow([guard(getattr(one, name)) for name in columns])
    return out.getvalue().encode()


def encode_ndjson(lines: Sequence[InvoiceLine], columns: Sequence[str]) -> bytes:
    """The lines as JSON, one on each line."""
    return b"".join(msgspec.json.encode({name: getattr(one, name) for name in columns}) + b"\n" for one in lines)
