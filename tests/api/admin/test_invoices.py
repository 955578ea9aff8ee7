"""admin-invoices and its kin: the contract's shapes, actions, refusals."""

from __future__ import annotations

import asyncpg
import pytest
from quart import Quart

from kaixu.edge.services import Services
from tests.invoices.books import NOVEMBER, OCTOBER, SECTION, bill_to, call
from tests.support.money import customer, virtual_key

from .conftest import Operator

DOLLAR = 10**9
PARTY = {"name": "Ada AG", "address": ["Ring 1", "1010 Wien"], "country": "at", "tax_id": "U13585627"}


@pytest.fixture
async def account(pool: asyncpg.Pool, services: Services, operator: Operator) -> int:
    """A customer with usage of two months and a top-up."""
    services.current.invoices = SECTION
    customer_id = await customer(pool, cap_nusd=50 * DOLLAR)
    key_id, _ = await virtual_key(pool, customer_id, label="laptop")
    await virtual_key(pool, customer_id, label="idle")
    await call(pool, customer_id, key_id, OCTOBER, 12 * DOLLAR)
    await call(pool, customer_id, key_id, NOVEMBER, DOLLAR)
    await operator.send("POST", "admin-topup", {"customer_id": customer_id, "amount_cents": 500, "month": "2025-10"})
    return customer_id


async def test_a_month_has_the_contract_s_shape(operator: Operator, account: int) -> None:
    path = f"admin-invoices?customer_id={account}&month=2025-10"
    before = await operator.get(path)
    assert (before["exists"], before["month"], before["customer_id"], before["status"]) == (
        False, "2025-10", account, "ready",
    )  # fmt: skip
    made = await operator.send("POST", path)
    assert made["ok"] is True
    assert (await operator.send("POST", "admin-invoices", {"customer_id": str(account), "month": "2025-10"}))["exists"]
    snapshot = (await operator.get(path))["snapshot"]
    assert {"generated_at", "month", "customer", "totals", "keys", "topups", "auto_topup", "push"} <= snapshot.keys()
    assert {"id", "email", "plan_name", "monthly_cap_cents", "stripe_customer_id"} <= snapshot["customer"].keys()
    totals = snapshot["totals"]
    # Prepaid credit raises the cap; it is not usage.
    assert (totals["cap_cents"], totals["extra_cents"], totals["spent_cents"]) == (5_000, 500, 1_200)
    assert (totals["push_total_cents"], totals["grand_total_cents"], totals["total_tokens"]) == (0, 1_200, 7)
    assert [(key["label"], key["spent_cents"], key["calls"]) for key in snapshot["keys"]] == [
        ("laptop", 1_200, 1),
        ("idle", 0, 0),
    ]
    assert {"amount_cents", "source", "reference", "stripe_session_id", "status", "created_at"} == snapshot["topups"][
        0
    ].keys()
    assert snapshot["auto_topup"] == {"enabled": False, "threshold_cents": None, "amount_cents": None}


async def test_from_the_draft_to_the_credit_note(app: Quart, operator: Operator, account: int) -> None:
    month = {"customer_id": account, "month": "2025-10"}
    status, reply = await operator.ask("POST", "admin-invoice-finalize", month)
    assert (status, reply["code"]) == (409, "BILLING_DETAILS_MISSING")
    billing = (await operator.send("PATCH", "admin-billing", {"customer_id": account, **PARTY}))["billing"]
    assert (billing["country"], billing["tax_id"]) == ("AT", "ATU13585627")
    assert (await operator.get(f"admin-billing?customer_id={account}"))["billing"] == billing
    issued = await operator.send("POST", "admin-invoice-finalize", month)
    number = issued["number"]
    assert (issued["issued"], issued["status"], issued["exists"]) == (True, "final", True)
    again = await operator.send("POST", "admin-invoice-finalize", month)
    assert (again["issued"], again["number"], again["sha256"]) == (False, number, issued["sha256"])
    shown = await operator.get(f"admin-invoices?customer_id={account}&month=2025-10")
    assert (shown["exists"], shown["snapshot"]) == (True, issued["snapshot"])
    assert (await operator.get(f"admin-invoice-verify?number={number}"))["ok"] is True
    pdf = await app.test_client().get(f"/api/admin-invoice-pdf?number={number}", headers=operator.headers)
    assert (pdf.headers["content-type"], (await pdf.get_data())[:5]) == ("application/pdf", b"%PDF-")
    note = await operator.send(
        "POST", "admin-invoice-credit", {"number": number, "reason": "outage", "amount_cents": 100}
    )
    assert note["snapshot"]["amounts"]["total_cents"] == -100
    rows = (await operator.get(f"admin-invoice-list?customer_id={account}"))["invoices"]
    assert [(row["kind"], row["total_cents"]) for row in rows] == [("credit_note", -100), ("invoice", 1_200)]
    page = await operator.get("admin-invoice-list?limit=1")
    rest = await operator.get(f"admin-invoice-list?limit=1&before_id={page['next_before_id']}")
    assert [page["invoices"][0]["id"], rest["invoices"][0]["id"]] == [row["id"] for row in rows]
    assert rest["next_before_id"] is None
    closed = await operator.send("POST", "admin-invoice-finalize", {"all": True})
    assert len(closed["issued"]) == 1
    void = await operator.send("POST", "admin-invoice-void", {"number": closed["issued"][0], "reason": "test"})
    assert void["invoice"]["status"] == "void"
    assert (await operator.get(f"admin-invoices?customer_id={account}&month=2025-11"))["exists"] is False
    assert [row["number"] for row in (await operator.get("admin-invoice-list?status=void"))["invoices"]] == closed[
        "issued"
    ]


async def test_each_change_is_in_the_audit_log(pool: asyncpg.Pool, operator: Operator, account: int) -> None:
    await operator.send("PATCH", "admin-billing", {"customer_id": account, **PARTY})
    month = {"customer_id": account, "month": "2025-10"}
    await operator.send("POST", "admin-invoices", month)
    number = (await operator.send("POST", "admin-invoice-finalize", month))["number"]
    await operator.send("POST", "admin-invoice-void", {"number": number, "reason": "x"})
    actions = await pool.fetch("select action from kaixu.audit_event where action !~ 'TOPUP' order by id")
    assert [row[0] for row in actions] == ["BILLING_UPDATE", "INVOICE_DRAFT", "INVOICE_FINALIZE", "INVOICE_VOID"]


async def test_wrong_requests_have_their_status(operator: Operator, account: int) -> None:
    for method, path, body, status in (
        ("GET", "admin-invoices", None, 400),
        ("GET", f"admin-invoices?customer_id={account}&month=2025-13", None, 422),
        ("GET", "admin-invoices?customer_id=999&month=2025-10", None, 404),
        ("POST", "admin-invoices?customer_id=999&month=2025-10", None, 404),
        ("GET", "admin-invoices?number=INV-1", None, 404),
        ("GET", "admin-invoice-list?customer_id=999", None, 404),
        ("GET", "admin-invoice-list?status=open", None, 422),
        ("GET", "admin-invoice-list?limit=0", None, 422),
        ("GET", "admin-invoice-pdf", None, 422),
        ("GET", "admin-invoice-verify?number=x", None, 404),
        ("POST", "admin-invoice-finalize", {"customer_id": account}, 400),
        ("POST", "admin-invoice-finalize", {"customer_id": account, "month": "2999-01"}, 422),
        ("POST", "admin-invoice-finalize", {"customer": account}, 400),
        ("POST", "admin-invoice-void", {"number": "x"}, 400),
        ("POST", "admin-invoice-void", {"number": "x", "reason": "y"}, 404),
        ("POST", "admin-invoice-void", {"number": 5, "reason": "y"}, 422),
        ("POST", "admin-invoice-credit", {"number": "x", "reason": "y", "amount_cents": 0}, 422),
        ("POST", "admin-invoice-credit", {"number": "x", "reason": "y", "amount_cents": 1, "lines": [1]}, 400),
        ("POST", "admin-invoice-credit", {"number": "x", "reason": "y", "lines": []}, 422),
        ("POST", "admin-invoice-credit", {"number": "x", "reason": "y", "lines": ["a"]}, 422),
        ("POST", "admin-invoice-credit", {"number": "x", "reason": "y", "lines": [None]}, 422),
        ("PATCH", "admin-billing", {"customer_id": account}, 400),
        ("PATCH", "admin-billing", {"customer_id": account, "country": "Austria"}, 422),
        ("PATCH", "admin-billing", {"customer_id": account, "country": "DE", "tax_id": "DE123456789"}, 422),
        ("PATCH", "admin-billing", {"customer_id": account, "address": ["x"] * 7}, 422),
        ("PATCH", "admin-billing", {"customer_id": account, "address": [5]}, 422),
        ("PATCH", "admin-billing", {"customer_id": account, "tax_rate_percent": "many"}, 422),
        ("PATCH", "admin-billing", {"customer_id": account, "tax_rate_percent": 101}, 422),
        ("PATCH", "admin-billing", {"customer_id": account, "tax_rate_percent": "1e999999"}, 422),
        ("PATCH", "admin-billing", {"customer_id": 999, "country": "DE"}, 404),
        ("PATCH", "admin-billing", {"customer_id": account, "iban": "x"}, 400),
    ):
        got, reply = await operator.ask(method, path, body)
        assert (got, bool(reply.get("code"))) == (status, True), (method, path, body, reply)


async def test_a_month_of_all_customers_is_closed_in_parts(
    pool: asyncpg.Pool, services: Services, operator: Operator
) -> None:
    services.current.invoices = SECTION
    ids = []
    for at in range(4):
        customer_id = await customer(pool, cap_nusd=50 * DOLLAR)
        key_id, _ = await virtual_key(pool, customer_id)
        await call(pool, customer_id, key_id, OCTOBER, (at + 1) * DOLLAR)
        ids.append(customer_id)
    for customer_id in ids[:3]:
        await bill_to(pool, customer_id)
    close = await operator.get("admin-month-close?month=2025-10")
    assert close["counts"] == {"open": 0, "waiting": 0, "details": 1, "ready": 3, "issued": 0}
    assert (close["spent_usd"]["ready"], close["spent_usd"]["details"], close["is_set_up"]) == ("6.00", "4.00", True)
    assert [one["state"] for one in close["customers"]] == ["ready", "ready", "ready", "details"]
    page = await operator.get("admin-month-close?month=2025-10&limit=3")
    rest = await operator.get(f"admin-month-close?month=2025-10&limit=3&after={page['next_after']}")
    assert [one["customer_id"] for one in rest["customers"]] == ids[3:]

    issued, after = [], 0
    while after is not None:
        part = await operator.send(
            "POST", "admin-invoice-finalize", {"all": True, "month": "2025-10", "most": 2, "after": after}
        )
        issued.append((len(part["issued"]), part["waiting"]))
        after = part["next_after"]
    assert issued == [(2, {}), (1, {"BILLING_DETAILS_MISSING": 1}), (0, {})]
    close = await operator.get("admin-month-close?month=2025-10&state=issued")
    assert close["counts"] == {"open": 0, "waiting": 0, "details": 1, "ready": 0, "issued": 3}
    assert [one["total_cents"] for one in close["customers"]] == [119, 238, 357]
    closed = await operator.get("admin-alerts?type=MONTH_CLOSED")
    assert closed["alerts"][0]["figures"]["not_issued"] == {"BILLING_DETAILS_MISSING": 1}


@pytest.mark.parametrize(
    "query", ["month=October", "month=2025-13", "state=closed", "limit=0", "limit=501", "after=-1", "after=x"]
)
async def test_a_wrong_month_close_has_its_field(operator: Operator, query: str) -> None:
    status, body = await operator.ask("GET", f"admin-month-close?{query}")
    assert (status, body["field"]) == (422, query.partition("=")[0])


@pytest.mark.parametrize("change", [{"month": None}, {"month": "x"}, {"most": 0}, {"most": 1001}, {"after": -1}])
async def test_a_wrong_part_of_a_month_is_refused(operator: Operator, change: dict[str, object]) -> None:
    body = {"all": True, "month": "2025-10", "most": 5, "after": 0} | change
    status, reply = await operator.ask("POST", "admin-invoice-finalize", body)
    assert status in (400, 422)
    assert reply["field"] in change
