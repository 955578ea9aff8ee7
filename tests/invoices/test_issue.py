"""Issuing invoices: numbers without gaps, nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaixu.invoices import closing
from kaixu.invoices.closing import finalize_all, finalize_in_background, tell_closed
from kaixu.invoices.credit import credit
from kaixu.invoices.issue import Statements, finalize, void
from kaixu.invoices.verify import verify
from kaixu.invoices.views import make_draft, read_pdf, show_month
from kaixu.plugin.errors import Conflict, KaixuError, Unprocessable
from kaixu.store import admission
from kaixu.store import invoices as store
from kaixu.store.clock import this_month
from kaixu.store.invoices import Stored
from kaixu.store.pool import open_pool, prepare_connection
from tests.conftest import with_database
from tests.support.money import customer, virtual_key
from tests.support.size import examples

from .books import DECEMBER, NOVEMBER, OCTOBER, SECTION, bill_to, call, lost_call, settlement
from .test_pdf import text_of

DOLLAR = 10**9
WHO: dict[str, Any] = {"actor": "test", "request_id": "r"}


@pytest.fixture
async def account(pool: asyncpg.Pool) -> tuple[int, int]:
    """A customer with billing details, and its key."""
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await bill_to(pool, customer_id)
    return customer_id, key_id


async def issued(pool: Any, customer_id: int, month: Any) -> Stored:
    """The month's invoice."""
    return (await finalize(pool, SECTION, customer_id, month, **WHO))[0]


async def test_an_invoice_is_exact_and_its_lines_add_up(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    for model in ("a", "b", "c"):
        await call(pool, customer_id, key_id, OCTOBER, 3_333_333, model=model)  # a third of a cent each
    await call(pool, customer_id, key_id, OCTOBER, 100 * DOLLAR, model="d")
    invoice = await issued(pool, customer_id, OCTOBER)
    year = datetime.now(UTC).year
    assert invoice.name == f"INV-{year}-00001"
    assert (invoice.net_nusd, invoice.net_cents, invoice.tax_cents, invoice.total_cents) == (
        100_009_999_999, 10_001, 1_900, 11_901,
    )  # fmt: skip
    snapshot = msgspec.json.decode(invoice.snapshot)
    assert [line["amount_cents"] for line in snapshot["lines"]] == [1, 0, 0, 10_000]
    assert sum(key["spent_cents"] for key in snapshot["keys"]) == snapshot["totals"]["grand_total_cents"] == 10_001
    assert snapshot["second_currency"]["total"] == "109.49"
    result = await verify(pool, invoice.name)
    assert (result.wrong, result.changed) == ([], [])


async def test_an_invoice_has_what_books_state_and_sums_those_with_caps_of_their_own(
    pool: asyncpg.Pool, account: tuple[int, int]
) -> None:
    customer_id, key_id = account
    await call(pool, customer_id, key_id, OCTOBER, 2 * DOLLAR)
    await call(pool, customer_id, key_id, OCTOBER, 3 * DOLLAR, book="push")
    await call(pool, customer_id, key_id, OCTOBER, 4 * DOLLAR, book="parcels")
    await call(pool, customer_id, key_id, OCTOBER, 5 * DOLLAR, book="shared")
    await pool.execute("update kaixu.customer_month set has_own_cap = true where book in ('push', 'parcels')")
    statements: Statements = {
        "push": lambda month: {"cents": month.spent_cents, "month": str(month.month)},
        "parcels": lambda month: None,  # it could not be made
        "unused": lambda month: {"never": "called"},
    }
    draft = await show_month(pool, SECTION, customer_id, OCTOBER, statements=statements)
    invoice, _ = await finalize(pool, SECTION, customer_id, OCTOBER, **WHO, statements=statements)
    for snapshot in (draft.snapshot, msgspec.json.decode(invoice.snapshot)):
        assert snapshot["push"] == {"cents": 300, "month": "2025-10-01"}
        assert snapshot["books"] == {"push": snapshot["push"]}
        totals = snapshot["totals"]
        assert (totals["spent_cents"], totals["push_total_cents"], totals["grand_total_cents"]) == (700, 700, 1400)
    result = await verify(pool, invoice.name)
    assert (result.wrong, result.changed) == ([], [])
    # What was issued stays, whatever the integration says later.
    shown = await show_month(pool, SECTION, customer_id, OCTOBER)
    assert shown.snapshot["push"] == {"cents": 300, "month": "2025-10-01"}


async def test_a_draft_is_live_and_takes_no_number(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    await call(pool, customer_id, key_id, OCTOBER, DOLLAR)
    for _ in range(2):
        view = await make_draft(pool, SECTION, customer_id, OCTOBER, **WHO)
        assert (view.exists, view.snapshot["number"], view.snapshot["status"]) == (True, None, "ready")
    await call(pool, customer_id, key_id, OCTOBER, DOLLAR)
    view = await show_month(pool, SECTION, customer_id, OCTOBER)
    assert view.snapshot["amounts"]["net_nusd"] == 2 * DOLLAR
    assert await pool.fetchval("select count(*) from kaixu.invoice_series") == 0
    await issued(pool, customer_id, OCTOBER)
    with pytest.raises(Conflict) as refused:
        await make_draft(pool, SECTION, customer_id, OCTOBER, **WHO)
    assert refused.value.code == "INVOICE_FINAL"


async def test_finalizing_twice_or_at_once_gives_one_invoice(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    await call(pool, customer_id, key_id, OCTOBER, DOLLAR)
    results = await asyncio.gather(*(finalize(pool, SECTION, customer_id, OCTOBER, **WHO) for _ in range(5)))
    assert sorted(first for _, first in results) == [False, False, False, False, True]
    assert len({stored.name for stored, _ in results}) == 1
    assert await pool.fetchval("select count(*) from kaixu.invoice") == 1


async def test_numbers_have_no_gaps_whatever_fails(pool: asyncpg.Pool) -> None:
    ids = []
    for _ in range(6):
        customer_id = await customer(pool)
        key_id, _ = await virtual_key(pool, customer_id)
        await bill_to(pool, customer_id)
        await call(pool, customer_id, key_id, OCTOBER, DOLLAR)
        ids.append(customer_id)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await store.take_number(connection, SECTION.series_of("invoice", datetime.now(UTC).year))
        waiting = [asyncio.create_task(finalize(pool, SECTION, one, OCTOBER, **WHO)) for one in ids]
        await asyncio.sleep(0)
        await transaction.rollback()
    await asyncio.gather(*waiting)
    numbers = await pool.fetch("select number from kaixu.invoice order by number")
    assert [row[0] for row in numbers] == [1, 2, 3, 4, 5, 6]


async def test_a_month_is_issued_when_it_is_closed(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    now = datetime.now(UTC)
    current = now.date().replace(day=1)
    await call(pool, customer_id, key_id, current, DOLLAR)
    assert await code_of(finalize(pool, SECTION, customer_id, current, **WHO)) == "MONTH_OPEN"
    last = (current.replace(day=1) - (DECEMBER - NOVEMBER)).replace(day=1)
    ticket = await lost_call(pool, customer_id, key_id, last, DOLLAR)
    long = SECTION.model_copy(update={"lost_wait_h": 24 * 60})
    assert await code_of(finalize(pool, long, customer_id, last, **WHO)) == "MONTH_WAITING"
    assert (await show_month(pool, long, customer_id, last)).snapshot["status"] == "draft"
    await call(pool, customer_id, key_id, last, 2 * DOLLAR, ticket=ticket)  # the truth
    assert (await finalize(pool, long, customer_id, last, **WHO))[0].net_nusd == 2 * DOLLAR


async def code_of(work: Awaitable[object]) -> str:
    """The code of the refusal."""
    with pytest.raises(KaixuError) as refused:
        await work
    return refused.value.code


async def test_what_is_missing_is_named(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await call(pool, customer_id, key_id, OCTOBER, DOLLAR)
    nobody = SECTION.model_copy(update={"seller": None})
    assert await code_of(finalize(pool, nobody, customer_id, OCTOBER, **WHO)) == "INVOICES_NOT_SET_UP"
    assert await code_of(finalize(pool, SECTION, customer_id, OCTOBER, **WHO)) == "BILLING_DETAILS_MISSING"
    assert await code_of(finalize(pool, SECTION, 99_999, OCTOBER, **WHO)) == "UNKNOWN_CUSTOMER"


async def test_late_truth_is_a_correction_of_the_next_invoice(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    ticket = await lost_call(pool, customer_id, key_id, OCTOBER, DOLLAR)
    first = await issued(pool, customer_id, OCTOBER)
    await call(pool, customer_id, key_id, OCTOBER, 3 * DOLLAR, ticket=ticket)
    assert "waits for the next invoice" in (await verify(pool, first.name)).changed[0]
    await call(pool, customer_id, key_id, NOVEMBER, DOLLAR)
    second = await issued(pool, customer_id, NOVEMBER)
    lines = msgspec.json.decode(second.snapshot)["lines"]
    assert [(line["kind"], line["month"], line["amount_nusd"]) for line in lines] == [
        ("usage", "2025-11", DOLLAR),
        ("correction", "2025-10", 2 * DOLLAR),
    ]
    assert (await verify(pool, first.name)).wrong == []
    await call(pool, customer_id, key_id, DECEMBER, DOLLAR)
    third = await issued(pool, customer_id, DECEMBER)
    assert third.net_nusd == DOLLAR  # carried once


async def test_corrections_below_zero_wait(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    ticket = await lost_call(pool, customer_id, key_id, OCTOBER, 5 * DOLLAR)
    await issued(pool, customer_id, OCTOBER)
    await call(pool, customer_id, key_id, OCTOBER, DOLLAR, ticket=ticket)
    await call(pool, customer_id, key_id, NOVEMBER, DOLLAR)
    await call(pool, customer_id, key_id, DECEMBER, 10 * DOLLAR)
    assert await code_of(finalize(pool, SECTION, customer_id, NOVEMBER, **WHO)) == "INVOICE_BELOW_ZERO"
    assert (await issued(pool, customer_id, DECEMBER)).net_nusd == 6 * DOLLAR
    assert (await issued(pool, customer_id, NOVEMBER)).net_nusd == DOLLAR


@pytest.mark.parametrize(
    ("credited", "corrected"),
    [({}, 0), ({"amount_cents": 595}, -5 * DOLLAR), ({"amount_cents": 119}, -7 * DOLLAR)],
    ids=["all", "half", "little"],
)
async def test_nobody_gets_back_more_than_was_billed(
    pool: asyncpg.Pool, account: tuple[int, int], credited: dict[str, Any], corrected: int
) -> None:
    customer_id, key_id = account
    ticket = await lost_call(pool, customer_id, key_id, OCTOBER, 7 * DOLLAR)
    await call(pool, customer_id, key_id, OCTOBER, 3 * DOLLAR, model="other")
    first = await issued(pool, customer_id, OCTOBER)
    await credit(pool, SECTION, first.name, reason="outage", **credited, **WHO)
    await call(pool, customer_id, key_id, OCTOBER, 0, ticket=ticket)
    await call(pool, customer_id, key_id, NOVEMBER, 20 * DOLLAR)
    assert (await issued(pool, customer_id, NOVEMBER)).net_nusd == 20 * DOLLAR + corrected
    await call(pool, customer_id, key_id, DECEMBER, DOLLAR)
    assert (await issued(pool, customer_id, DECEMBER)).net_nusd == DOLLAR


async def test_prepaid_credit_is_a_payment_and_no_usage(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    await call(pool, customer_id, key_id, OCTOBER, 10 * DOLLAR)
    await pool.execute(
        "insert into kaixu.topup (idempotency_key, customer_id, month, amount_nusd) values ('k', $1, $2, $3)",
        customer_id,
        OCTOBER,
        4 * DOLLAR,
    )
    snapshot = msgspec.json.decode((await issued(pool, customer_id, OCTOBER)).snapshot)
    assert snapshot["totals"]["grand_total_cents"] == 1_000
    amounts = snapshot["amounts"]
    assert (amounts["total_cents"], amounts["prepaid_applied_cents"], amounts["due_cents"]) == (1_190, 400, 790)


async def test_credit_notes_add_up_to_the_invoice(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    for model in ("a", "b", "c"):
        await call(pool, customer_id, key_id, OCTOBER, 33_336_666_667, model=model)
    invoice = await issued(pool, customer_id, OCTOBER)
    arguments: list[dict[str, Any]] = [{"amount_cents": 1}, {"lines": [1]}, {"lines": [2]}, {"amount_cents": 3}, {}]
    notes = [await credit(pool, SECTION, invoice.name, reason="mistake", **one, **WHO) for one in arguments]
    assert [note.number for note in notes] == [1, 2, 3, 4, 5]
    assert notes[0].name.startswith("CN-")
    for name in ("net_nusd", "net_cents", "tax_cents", "total_cents"):
        assert sum(getattr(note, name) for note in notes) == getattr(invoice, name)
    for note in notes:
        assert (await verify(pool, note.name)).wrong == []
    printed = text_of(await read_pdf(pool, notes[1]))
    for part in (f"Credit note {notes[1].name}", f"Invoice: {invoice.name}", "Reason: mistake", "-33.34"):
        assert part in printed, part
    assert await code_of(credit(pool, SECTION, invoice.name, reason="x", **WHO)) == "NOTHING_TO_CREDIT"
    assert await code_of(void(pool, invoice.name, reason="x", **WHO)) == "INVOICE_CREDITED"


async def test_a_credit_that_is_asked_for_again_credits_nothing(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    await call(pool, customer_id, key_id, OCTOBER, 10 * DOLLAR)
    invoice = await issued(pool, customer_id, OCTOBER)
    asked: dict[str, Any] = {"amount_cents": 5, "reason": "x", "idempotency_key": "outage-1", **WHO}
    notes = await asyncio.gather(*(credit(pool, SECTION, invoice.name, **asked) for _ in range(5)))
    assert len({note.name for note in notes}) == 1
    for other in ({"amount_cents": 6}, {"amount_cents": None, "lines": [1]}):
        with pytest.raises(Conflict):
            await credit(pool, SECTION, invoice.name, **asked | other)
    assert (await credit(pool, SECTION, invoice.name, **asked | {"idempotency_key": "outage-2"})).number == 2
    assert await pool.fetchval("select count(*) from kaixu.audit_event where action = 'INVOICE_CREDIT'") == 2


async def test_an_invoice_that_takes_long_to_print_is_issued(
    pool: asyncpg.Pool, account: tuple[int, int], dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaixu.store.pool.IDLE_TRANSACTION_S", 0.5)
    customer_id, key_id = account
    calls = [settlement(customer_id, key_id, OCTOBER, DOLLAR, model=f"m{number}") for number in range(200)]
    await admission.settle(pool, calls)
    hasty = await open_pool(dsn, most=1, least=1)
    invoice = await issued(hasty, customer_id, OCTOBER)
    assert (await credit(hasty, SECTION, invoice.name, reason="x", **WHO)).total_cents == invoice.total_cents
    hasty.terminate()


async def test_wrong_credits_are_refused(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    await call(pool, customer_id, key_id, OCTOBER, DOLLAR)
    invoice = await issued(pool, customer_id, OCTOBER)
    wrong: list[dict[str, Any]] = [{"amount_cents": 120}, {"lines": [2]}, {"amount_cents": 0}]
    for one in wrong:
        with pytest.raises(Unprocessable):
            await credit(pool, SECTION, invoice.name, reason="x", **one, **WHO)
    note = await credit(pool, SECTION, invoice.name, lines=[1], reason="x", **WHO)
    assert note.total_cents == invoice.total_cents == 119
    assert await code_of(credit(pool, SECTION, note.name, reason="x", **WHO)) == "NOT_AN_INVOICE"
    assert await code_of(credit(pool, SECTION, "INV-0", reason="x", **WHO)) == "UNKNOWN_INVOICE"


async def test_a_void_invoice_keeps_its_number_and_its_month_can_be_issued_again(
    pool: asyncpg.Pool, account: tuple[int, int]
) -> None:
    customer_id, key_id = account
    await call(pool, customer_id, key_id, OCTOBER, DOLLAR)
    first = await issued(pool, customer_id, OCTOBER)
    voided, now = await void(pool, first.name, reason="wrong address", **WHO)
    assert (voided.name, voided.void_reason, now) == (first.name, "wrong address", True)
    assert (await void(pool, first.name, reason="again", **WHO))[1] is False
    assert await code_of(credit(pool, SECTION, first.name, reason="x", **WHO)) == "INVOICE_VOID"
    second = await issued(pool, customer_id, OCTOBER)
    assert (second.number, second.net_nusd) == (first.number + 1, DOLLAR)


@pytest.mark.parametrize("table", ["invoice", "invoice_line", "invoice_void"])
@pytest.mark.parametrize(
    "change", ["update kaixu.{} set invoice_id = 1", "delete from kaixu.{}", "truncate kaixu.{} cascade"]
)
async def test_the_database_refuses_to_change_what_was_issued(pool: asyncpg.Pool, table: str, change: str) -> None:
    statement = change.format(table).replace("invoice_id", "actor" if table == "invoice" else "invoice_id")
    statement = statement.replace("actor = 1", "actor = 'x'")
    with pytest.raises(asyncpg.RaiseError, match="never changed"):
        await pool.execute(statement)


async def test_all_closed_months_are_issued_at_once(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    for month in (OCTOBER, NOVEMBER):
        await call(pool, customer_id, key_id, month, DOLLAR)
    other = await customer(pool)
    other_key, _ = await virtual_key(pool, other)
    await call(pool, other, other_key, OCTOBER, DOLLAR)
    closed = await finalize_all(pool, SECTION, **WHO)
    assert (len(closed.issued), closed.waiting) == (2, {"BILLING_DETAILS_MISSING": 1})
    assert (await finalize_all(pool, SECTION, **WHO)).issued == []


async def closed_months(pool: asyncpg.Pool) -> list[dict[str, Any]]:
    """The figures of the alerts that a month's invoices are issued."""
    rows = await pool.fetch("select body from kaixu.alert where type = 'MONTH_CLOSED' order by id")
    return [row["body"] for row in rows]


async def test_the_close_of_a_month_is_told_once_when_none_of_its_invoices_waits(
    pool: asyncpg.Pool, account: tuple[int, int]
) -> None:
    customer_id, key_id = account
    for month in (OCTOBER, NOVEMBER):
        await call(pool, customer_id, key_id, month, DOLLAR)
    other = await customer(pool)
    other_key, _ = await virtual_key(pool, other)
    await call(pool, other, other_key, OCTOBER, DOLLAR)
    await asyncio.gather(*(finalize_all(pool, SECTION, **WHO) for _ in range(3)))
    told = await closed_months(pool)
    assert [one["month"] for one in told] == ["2025-10", "2025-11"]
    assert (told[0]["invoices"], told[0]["not_issued"]) == (1, {"BILLING_DETAILS_MISSING": 1})
    assert told[0]["total_cents"] == await pool.fetchval(
        "select sum(total_cents) from kaixu.invoice where month = $1", OCTOBER
    )
    await bill_to(pool, other)
    await finalize_all(pool, SECTION, **WHO)
    assert len(await closed_months(pool)) == 2


async def test_a_month_with_calls_that_are_not_settled_is_not_told_as_closed(
    pool: asyncpg.Pool, account: tuple[int, int]
) -> None:
    customer_id, key_id = account
    await call(pool, customer_id, key_id, OCTOBER, DOLLAR)
    await tell_closed(pool, {OCTOBER: {"MONTH_WAITING": 1}})
    await tell_closed(pool, {OCTOBER: {}})  # nothing is issued
    assert await closed_months(pool) == []


async def test_a_close_that_was_not_told_because_the_process_died_is_told_by_the_next_one(
    pool: asyncpg.Pool, account: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    month = closing.month_before(await this_month(pool))
    await call(pool, *account, month, DOLLAR)

    async def dies(*arguments: Any) -> None:
        raise LookupError

    with monkeypatch.context() as patch:
        patch.setattr(closing, "tell_closed", dies)
        with pytest.raises(LookupError):
            await finalize_all(pool, SECTION.model_copy(update={"lost_wait_h": 0}), **WHO)
    assert await closed_months(pool) == []
    assert (await finalize_all(pool, SECTION, **WHO)).issued == []
    assert [one["invoices"] for one in await closed_months(pool)] == [1]


async def test_an_invoice_that_fails_stops_no_other_one(
    pool: asyncpg.Pool, account: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    customer_id, key_id = account
    await call(pool, customer_id, key_id, OCTOBER, DOLLAR)
    other = await customer(pool)
    other_key, _ = await virtual_key(pool, other)
    await bill_to(pool, other)
    await call(pool, other, other_key, OCTOBER, DOLLAR)
    await pool.execute(f"alter table kaixu.invoice add constraint fault check (customer_id <> {customer_id})")
    closed = await finalize_all(pool, SECTION, **WHO)
    assert (len(closed.issued), closed.waiting) == (1, {"INTERNAL": 1})
    assert f"the invoice of customer {customer_id} for 2025-10-01 was not issued" in caplog.text


async def test_the_gateway_issues_by_itself_only_if_it_is_told_to(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    await call(pool, *account, OCTOBER, DOLLAR)
    await finalize_in_background(pool, SECTION)
    assert await pool.fetchval("select count(*) from kaixu.invoice") == 0
    await finalize_in_background(pool, SECTION.model_copy(update={"auto_finalize": True}))
    assert await pool.fetchval("select actor from kaixu.invoice") == "gateway"


async def test_reverse_charge_is_said(pool: asyncpg.Pool, account: tuple[int, int]) -> None:
    customer_id, key_id = account
    await bill_to(pool, customer_id, country="AT", tax_id="ATU13585627")
    await call(pool, customer_id, key_id, OCTOBER, DOLLAR)
    invoice = await issued(pool, customer_id, OCTOBER)
    assert invoice.tax_cents == 0
    assert msgspec.json.decode(invoice.snapshot)["taxes"][0]["note"] == "Reverse charge"


MONTHS = (OCTOBER, NOVEMBER, DECEMBER)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["use", "use", "lose", "truth", "forgive", "finalize", "finalize", "credit", "void"]),
        st.integers(0, 2),
        st.integers(0, 40_000_000),
    ),
    max_size=18,
)


@given(steps=STEPS)
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_bills_every_nano_dollar_once(
    server_dsn: str, template: str, steps: list[tuple[str, int, int]]
) -> None:
    async def story() -> None:
        connection = await asyncpg.connect(with_database(server_dsn, template))
        await prepare_connection(connection)
        transaction = connection.transaction()
        await transaction.start()
        try:
            customer_id = await customer(connection)
            key_id, _ = await virtual_key(connection, customer_id)
            await bill_to(connection, customer_id)
            await tell(SameConnection(connection), customer_id, key_id, steps)
        finally:
            await transaction.rollback()
            await connection.close()

    asyncio.run(story())


async def tell(pool: Any, customer_id: int, key_id: int, steps: list[tuple[str, int, int]]) -> None:
    """Act, and compare after every step."""
    lost: list[tuple[Any, Any]] = []
    for kind, choice, amount in steps:
        month = MONTHS[choice]
        if kind == "use":
            await call(pool, customer_id, key_id, month, amount, model=f"m{amount % 3}")
        elif kind == "lose":
            lost.append((await lost_call(pool, customer_id, key_id, month, amount), month))
        elif kind in ("truth", "forgive") and lost:
            ticket, of_month = lost.pop(choice % len(lost))
            end = "released" if kind == "forgive" else "complete"
            await call(pool, customer_id, key_id, of_month, amount, ticket=ticket, end_reason=end)
        elif kind == "finalize":
            await allowed(lambda month=month: finalize(pool, SECTION, customer_id, month, **WHO))  # type: ignore[misc]
        elif kind in ("credit", "void"):
            stored = await store.in_force(pool, customer_id, month)
            if stored is None:
                continue
            name = stored.name
            if kind == "void":
                await allowed(lambda name=name: void(pool, name, reason="x", **WHO))  # type: ignore[misc]
            else:
                await allowed(
                    lambda name=name, cents=1 + amount % 3: credit(  # type: ignore[misc]
                        pool, SECTION, name, amount_cents=cents, reason="x", **WHO
                    )
                )
        await compare(pool, customer_id)


async def allowed(work: Callable[[], Awaitable[object]]) -> None:
    """Do something that may be refused."""
    with contextlib.suppress(Conflict, Unprocessable):
        await work()


async def compare(pool: Any, customer_id: int) -> None:
    """What is billed and what is still to bill is the ledger, in all and for each invoice's lines."""
    ledger = await pool.fetchval("select coalesce(sum(cost_nusd), 0) from kaixu.usage_event")
    in_force = await pool.fetchval(
        """
        select coalesce(sum(i.net_nusd), 0) from kaixu.invoice i
         where i.kind = 'invoice' and not exists (select 1 from kaixu.invoice_void v where v.invoice_id = i.id)
        """
    )
    open_months = [month for month in MONTHS if await store.in_force(pool, customer_id, month) is None]
    figures = []
    for month in MONTHS:  # each month's figures have the corrections of all issued months, too
        figures.append({(one.month, one.book, one.provider, one.model, one.billed, one.chain_id): one.amount_nusd
                        for one in await store.FIGURES.all(pool, customer_id, month)})  # fmt: skip
    to_bill = sum({key: amount for one in figures for key, amount in one.items()}.values())
    assert in_force + to_bill == ledger, (in_force, to_bill, ledger, open_months)
    numbers = [row[0] for row in await pool.fetch("select number from kaixu.invoice where kind = 'invoice' order by 1")]
    assert numbers == list(range(1, len(numbers) + 1))


class SameConnection:
    """A pool of one connection, in one transaction."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.fetch, self.fetchrow = connection.fetch, connection.fetchrow
        self.fetchval, self.execute = connection.fetchval, connection.execute

    def acquire(self) -> SameConnection:
        return self

    async def __aenter__(self) -> Any:
        return self.connection

    async def __aexit__(self, *_: object) -> None:
        return None
