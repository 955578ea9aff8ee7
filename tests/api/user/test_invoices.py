"""user-invoices: owners and admins see the whole invoice, other keys their own figures, nobody another customer's."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from quart import Quart

from kaixu.edge.services import Services
from kaixu.invoices.issue import finalize
from tests.api.admin.conftest import app, services
from tests.invoices.books import OCTOBER, SECTION, bill_to, call
from tests.support.money import customer, virtual_key

__all__ = ["app", "services"]  # fixtures

DOLLAR = 10**9
PATH = "/api/user-invoices?month=2025-10"


@pytest.fixture
async def keys(pool: asyncpg.Pool, services: Services) -> dict[str, str]:
    """A key of each role of one customer, with a dollar more of usage each, and another customer's."""
    services.current.invoices = SECTION
    made = {}
    customer_id = await customer(pool)
    await bill_to(pool, customer_id)
    for number, role in enumerate(("viewer", "deployer", "admin", "owner"), 1):
        key_id, made[role] = await virtual_key(pool, customer_id, role=role, label=f"key of {role}")
        await call(pool, customer_id, key_id, OCTOBER, number * DOLLAR)
    other = await customer(pool)
    other_key, made["other"] = await virtual_key(pool, other, role="owner")
    await call(pool, other, other_key, OCTOBER, 77 * DOLLAR)
    return made


async def get(app: Quart, key: str, path: str = PATH) -> tuple[int, Any]:
    """The status and the body of a reply."""
    response = await app.test_client().get(path, headers={"authorization": f"Bearer {key}"})
    data = await response.get_data()
    return response.status_code, data if path.startswith("/api/user-invoice-pdf") else json.loads(data)


@pytest.mark.parametrize("is_issued", [False, True], ids=["draft", "invoice"])
async def test_a_key_sees_what_its_role_may_see(
    app: Quart, pool: asyncpg.Pool, keys: dict[str, str], is_issued: bool
) -> None:
    if is_issued:
        await finalize(pool, SECTION, 1, OCTOBER, actor="a", request_id="r")
    for role in ("admin", "owner"):
        status, body = await get(app, keys[role])
        assert (status, body["exists"], body["snapshot"]["totals"]["grand_total_cents"]) == (200, is_issued, 1_000)
        assert len(body["snapshot"]["keys"]) == 4
    for role, cents in (("viewer", 100), ("deployer", 200)):
        status, body = await get(app, keys[role])
        snapshot = body["snapshot"]
        assert (status, snapshot["totals"]["grand_total_cents"], body["number"]) == (200, cents, None)
        assert [key["label"] for key in snapshot["keys"]] == [f"key of {role}"]
        assert "customer0@example.com" not in json.dumps(body)
    assert (await get(app, keys["other"]))[1]["snapshot"]["totals"]["grand_total_cents"] == 7_700


async def test_a_rotated_key_still_sees_its_own_figures(app: Quart, pool: asyncpg.Pool, keys: dict[str, str]) -> None:
    await finalize(pool, SECTION, 1, OCTOBER, actor="a", request_id="r")
    _, new = await virtual_key(pool, 1, role="viewer", label="new")
    await pool.execute("update kaixu.virtual_key set chain_id = 1 where label = 'new'")
    assert (await get(app, new))[1]["snapshot"]["totals"]["grand_total_cents"] == 100


async def test_the_pdf_is_for_owners_and_admins(app: Quart, pool: asyncpg.Pool, keys: dict[str, str]) -> None:
    path = "/api/user-invoice-pdf?month=2025-10"
    assert (await get(app, keys["owner"], path))[0] == 404
    await finalize(pool, SECTION, 1, OCTOBER, actor="a", request_id="r")
    status, pdf = await get(app, keys["owner"], path)
    assert (status, pdf[:5]) == (200, b"%PDF-")
    assert (await get(app, keys["viewer"], path))[0] == 403
    assert (await get(app, keys["other"], path))[0] == 404


async def test_all_invoices_of_the_account_are_listed_and_read_by_number(
    app: Quart, pool: asyncpg.Pool, keys: dict[str, str]
) -> None:
    path = "/api/user-invoice-list"
    assert await get(app, keys["owner"], path) == (200, {"invoices": [], "next_before_id": None})
    await finalize(pool, SECTION, 1, OCTOBER, actor="a", request_id="r")
    status, body = await get(app, keys["owner"], f"{path}?limit=1")
    [invoice] = body["invoices"]
    assert (status, invoice["month"], invoice["status"], body["next_before_id"]) == (200, "2025-10", "final", None)
    pdf = f"/api/user-invoice-pdf?number={invoice['number']}"
    assert (await get(app, keys["admin"], pdf))[1][:5] == b"%PDF-"
    for reader, status in (("viewer", 403), ("other", 404)):
        assert (await get(app, keys[reader], pdf))[0] == status
    assert (await get(app, keys["viewer"], path))[0] == 403
    assert (await get(app, keys["other"], path))[1]["invoices"] == []
    assert (await get(app, keys["owner"], f"{path}?limit=0"))[0] == 422


async def test_disabled_customers_and_bad_months_are_refused(
    app: Quart, pool: asyncpg.Pool, keys: dict[str, str]
) -> None:
    assert (await get(app, keys["owner"], "/api/user-invoices?month=2025-1"))[0] == 400
    assert (await get(app, keys["owner"], "/api/user-invoice-pdf"))[0] == 400
    assert (await get(app, "kx_live_" + "x" * 48))[0] == 401
    await pool.execute("update kaixu.customer set is_active = false")
    status, body = await get(app, keys["owner"])
    assert (status, body["code"]) == (403, "CUSTOMER_DISABLED")
