"""`admin-audit`: who, from where, before and after; filters, pages, CSV."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
from quart import Quart

from kaixu.edge.services import Services
from tests.support.operators import operator_with_role, token_with_scopes

from .conftest import Operator


async def test_a_change_names_who_made_it_with_what_from_where_and_its_fields(
    app: Quart, pool: asyncpg.Pool, operator: Operator
) -> None:
    number, headers = await operator_with_role(pool, "operator", "ada@example.com")
    ada = Operator(app, **headers, **{"x-kaixu-request-id": "the-request"})
    made = (await ada.send("POST", "admin-customers", {"email": "c@example.com"}))["customer"]
    await ada.send("PATCH", "admin-customers", {"customer_id": made["id"], "plan_name": "pro"})
    page = await operator.get("admin-audit")
    changed, created = page["entries"]
    assert changed["actor"] == created["actor"] == "operator:ada@example.com"
    assert (changed["actor_kind"], changed["operator_id"], changed["token_id"]) == ("operator", number, None)
    assert changed["session_id"] == await pool.fetchval("select max(id) from kaixu.operator_session")
    assert changed["request_id"] == "the-request"
    assert changed["address"] == "unknown"  # of a test client without a socket
    assert (changed["customer_id"], created["customer_id"]) == (made["id"], made["id"])
    assert changed["changes"] == {"plan_name": ["starter", "pro"]}
    assert created["changes"]["email"] == [None, "c@example.com"]
    assert page["next_cursor"] is None


async def test_what_keeps_who_made_it_names_the_same_operator(
    app: Quart, pool: asyncpg.Pool, operator: Operator
) -> None:
    _, headers = await operator_with_role(pool, "operator", "ada@example.com")
    ada = Operator(app, **headers)
    codes = await ada.send("POST", "admin-codes", {"amount_cents": 100, "expires_at": "2030-01-01"})
    customer = (await ada.send("POST", "admin-customers", {"email": "c@example.com"}))["customer"]
    await ada.send("DELETE", f"admin-customers?customer_id={customer['id']}", {"confirm": "c@example.com"})
    deleted = await pool.fetchval("select actor from kaixu.customer_deletion")
    assert codes["batch"]["created_by"] == deleted == "operator:ada@example.com"


async def test_tokens_the_admin_password_and_customers_are_told_apart(
    app: Quart, pool: asyncpg.Pool, services: Services
) -> None:
    token = await token_with_scopes(pool, "customers", "read")
    script = Operator(app, authorization=f"Bearer {token}")
    await script.send("POST", "admin-customers", {"email": "a@example.com"})
    body = await Operator(app).send("POST", "admin-login", {"password": services.secrets.admin_password})
    boss = Operator(app, authorization=f"Bearer {body['token']}")
    await boss.send("POST", "admin-customers", {"email": "b@example.com"})
    entries = (await boss.get("admin-audit"))["entries"]
    assert [(one["action"], one["actor"]) for one in entries] == [
        ("CUSTOMER_CREATE", "admin"),
        ("ADMIN_LOGIN_OK", "admin"),
        ("CUSTOMER_CREATE", "token:for customers read None"),
    ]
    assert entries[0]["session_id"] is not None
    assert entries[2]["token_id"] is not None
    assert [one["actor"] for one in (await boss.get("admin-audit?actor=token"))["entries"]] == [entries[2]["actor"]]


async def test_a_stranger_s_request_after_an_operator_s_is_nobody_s(
    app: Quart, pool: asyncpg.Pool, operator: Operator
) -> None:
    """Also where both come over one connection."""
    await operator.send("POST", "admin-customers", {"email": "a@example.com"})
    await Operator(app).ask("POST", "admin-login", {"password": "wrong"})
    row = await pool.fetchrow("select actor, address, session_id from kaixu.audit_event order by id desc limit 1")
    assert row is not None
    assert (row["actor"], row["session_id"]) == ("admin", None)
    assert row["address"].startswith("hash:")


async def test_filters_and_pages(operator: Operator) -> None:
    ids = []
    for number in range(5):
        body = await operator.send("POST", "admin-customers", {"email": f"c{number}@example.com"})
        ids.append(body["customer"]["id"])
    await operator.send("POST", "admin-topup", {"customer_id": ids[0], "amount_cents": 500})
    key = (await operator.send("POST", "admin-keys", {"customer_id": ids[0]}))["api_key"]

    async def shown(query: str) -> list[tuple[str, str]]:
        return [(one["action"], one["target"]) for one in (await operator.get(f"admin-audit?{query}"))["entries"]]

    assert await shown("action=topup_manual") == [("TOPUP_MANUAL", f"customer:{ids[0]}")]
    assert await shown(f"target=key:{key['id']}") == [("KEY_CREATE", f"key:{key['id']}")]
    assert await shown("target=key") == [("KEY_CREATE", f"key:{key['id']}")]
    assert await shown("target=ke") == []
    assert {action for action, _ in await shown(f"customer_id={ids[0]}")} == {
        "CUSTOMER_CREATE", "TOPUP_MANUAL", "KEY_CREATE",
    }  # fmt: skip
    assert await shown("actor=a%25") == []
    assert await shown("since=now-1h&until=now-30m") == []
    assert len(await shown("since=now-1h")) == 7
    collected, cursor = [], ""
    while True:
        page = await operator.get(f"admin-audit?limit=2{cursor}")
        collected += [one["id"] for one in page["entries"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert collected == sorted(collected, reverse=True)
    assert len(collected) == 7


async def test_csv_has_the_changes_in_a_cell_and_guards_formulas(app: Quart, operator: Operator) -> None:
    await operator.send("POST", "admin-customers", {"email": "a@example.com", "plan_name": "=1+1"})
    response = await app.test_client().get("/api/admin-audit?format=csv", headers=operator.headers)
    text = await response.get_data(as_text=True)
    assert response.headers["content-disposition"] == 'attachment; filename="kaixu-audit.csv"'
    header, row = text.splitlines()
    assert header == "id,created_at,actor,action,target,customer_id,address,operator_id,session_id,token_id,request_id,changes,meta"  # fmt: skip
    assert '"plan_name"":[null,""=1+1""]' in row
    assert (await app.test_client().get("/api/admin-audit?format=html", headers=operator.headers)).status_code == 200


async def test_older_rows_and_rows_of_other_things_have_no_or_the_right_customer(
    operator: Operator, pool: asyncpg.Pool
) -> None:
    await pool.execute(
        """
        insert into kaixu.audit_event (actor, action, target, before, after, meta) values
        ('a', 'X1', 'customer:12', null, null, '{}'), ('a', 'X2', 'customer:x', null, null, '{}'),
        ('a', 'X3', 'key:1', '{"customer_id": 13}', null, '{}'), ('a', 'X4', 'k', null, '{}', '{"customer_id": "y"}'),
        ('a', 'X5', 'k', '{"customer_id": null}', null, '{"customer_id": 99999999999999999999}')
        """
    )
    entries = (await operator.get("admin-audit?actor=a"))["entries"]
    assert {one["action"]: one["customer_id"] for one in entries} == {
        "X1": 12, "X2": None, "X3": 13, "X4": None, "X5": None,
    }  # fmt: skip


async def test_what_is_written_down_beside_the_log_names_the_operator_too(app: Quart, pool: asyncpg.Pool) -> None:
    _, headers = await operator_with_role(pool, "operator", "ada@example.com")
    ada = Operator(app, **headers)
    made = await ada.send(
        "POST", "admin-codes", {"amount_cents": 5, "expires_at": (datetime.now(UTC) + timedelta(days=9)).isoformat()}
    )
    assert made["batch"]["created_by"] == "operator:ada@example.com"
    customer_id = (await ada.send("POST", "admin-customers", {"email": "c@example.com"}))["customer"]["id"]
    await ada.send("DELETE", "admin-customers", {"customer_id": customer_id, "confirm": "c@example.com"})
    assert await pool.fetchval("select actor from kaixu.customer_deletion") == "operator:ada@example.com"
    actors = await pool.fetch("select distinct actor from kaixu.audit_event where action like 'CUSTOMER_DELETE%'")
    assert [row[0] for row in actors] == ["operator:ada@example.com"]
