"""`verify` finds whatever was changed behind the database's back."""

from __future__ import annotations

import subprocess
import sys

import asyncpg
import pytest

from kaixu.invoices.issue import finalize
from kaixu.invoices.verify import verify
from kaixu.store import invoices as store
from kaixu.store.invoices import Stored
from tests.support.money import customer, virtual_key

from .books import OCTOBER, SECTION, bill_to, call

#: Prints the hash of the PDF that another process makes from the snapshot on its input.
PRINT_HASH = """
import hashlib, sys
from kaixu.invoices.pdf import invoice_pdf
print(hashlib.sha256(invoice_pdf(sys.stdin.read())).hexdigest())
"""


@pytest.fixture
async def invoice(pool: asyncpg.Pool) -> Stored:
    """An invoice of two lines."""
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await bill_to(pool, customer_id)
    for model in ("a", "b"):
        await call(pool, customer_id, key_id, OCTOBER, 10**9, model=model)
    return (await finalize(pool, SECTION, customer_id, OCTOBER, actor="a", request_id="r"))[0]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            "update kaixu.invoice set snapshot = replace(snapshot, 'Ada', 'Eve')",
            "the snapshot does not have its SHA-256",
        ),
        ("update kaixu.invoice set pdf = 'x'", "the PDF does not have its SHA-256"),
        ("update kaixu.invoice set total_cents = 1", "total_cents is 1, in the snapshot 238"),
        ("update kaixu.invoice set name = 'INV-1'", "the snapshot's number is"),
        ("update kaixu.invoice_line set amount_nusd = 5 where line = 2", "line 2 is not what is billed"),
        ("delete from kaixu.invoice_line where line = 2", "2 lines are printed, 1 are billed"),
    ],
    ids=["snapshot", "pdf", "total", "number", "line", "line gone"],
)
async def test_a_change_is_found(pool: asyncpg.Pool, invoice: Stored, statement: str, found: str) -> None:
    assert (await verify(pool, invoice.name)).wrong == []
    async with pool.acquire() as connection:
        await connection.execute("set session_replication_role = replica")  # an intruder who is superuser
        await connection.execute(statement)
        await connection.execute("reset session_replication_role")
    name = await pool.fetchval("select name from kaixu.invoice")
    assert any(found in one for one in (await verify(pool, name)).wrong)


async def test_changed_events_are_shown(pool: asyncpg.Pool, invoice: Stored) -> None:
    await pool.execute("update kaixu.usage_event set cost_nusd = cost_nusd + 1 where model = 'b'")
    await pool.execute("update kaixu.customer_month set spent_nusd = spent_nusd + 1")
    result = await verify(pool, invoice.name)
    assert result.wrong == []
    assert result.changed == [
        "ai/up/b: the events cost $1.000000001, this invoice bills $1.00; $0.000000001 waits for the next invoice"
    ]


async def test_another_process_makes_the_same_pdf(invoice: Stored) -> None:
    for seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", PRINT_HASH],
            input=invoice.snapshot,
            text=True,
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        )
        assert printed.stdout.strip() == invoice.pdf_sha256


async def test_the_keys_of_an_issued_month_are_those_of_its_snapshot(pool: asyncpg.Pool, invoice: Stored) -> None:
    keys = await store.snapshot_keys(pool, invoice.customer_id, OCTOBER)
    assert keys is not None
    assert [key["spent_nusd"] for key in keys] == [2 * 10**9]
    assert await store.snapshot_keys(pool, invoice.customer_id, OCTOBER.replace(year=2024)) is None
