"""admin-export and user-export: the contract's files, filters, roles, formulas, and what a broken file says."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Quart

from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.services import Services
from kaixu.edge.tokens import make_session_token
from kaixu.invoices.issue import finalize
from kaixu.plugin.errors import DatabaseAway, Overloaded, RateLimited, StatementTooSlow
from kaixu.plugin.types import Usage
from kaixu.reports import export_copy
from kaixu.reports.export import read_export, read_user_export
from kaixu.reports.export_copy import Exports
from kaixu.reports.own_key import Credential, find_own_key
from kaixu.reports.table import guarded
from kaixu.store.pool import open_pool
from kaixu.store.rollups import set_reporting_zone
from tests.api.admin.conftest import Operator, app, operator, services
from tests.invoices.books import OCTOBER, SECTION, bill_to, call
from tests.support.calls import billed
from tests.support.money import customer, virtual_key
from tests.support.operators import admin_token
from tests.support.size import examples, size

__all__ = ["app", "operator", "services"]

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ADMIN_EVENTS = "created_at,api_key_id,provider,model,input_tokens,output_tokens,cost_cents,install_id"
USER_EVENTS = "created_at,provider,model,input_tokens,output_tokens,cost_cents,install_id"


class File:
    """An exported file: its name, its header, its rows, and its last line."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        assert text.endswith("\n")
        assert "\r\n" not in text
        *lines, self.last = text.removesuffix("\n").split("\n")
        self.header = lines[0]
        self.rows = list(csv.DictReader(io.StringIO("\n".join(lines))))


async def download(client: Operator, path: str) -> File:
    """A file that is downloaded."""
    response = await client.client.get(f"/api/{path}", headers=client.headers)
    text = await response.get_data(as_text=True)
    assert response.status_code == 200, text
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    match = re.fullmatch(r'attachment; filename="([\w.-]+)"', response.headers["content-disposition"])
    assert match is not None
    return File(match[1], text)


def with_key(app: Quart, key: str) -> Operator:
    """A client with a virtual key or a session token."""
    return Operator(app, authorization=f"Bearer {key}")


async def month_of(pool: asyncpg.Pool) -> str:
    """This month."""
    month: str = await pool.fetchval("select to_char(now() at time zone 'UTC', 'YYYY-MM')")
    return month


async def test_events_have_the_contracts_columns_oldest_first(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await billed(pool, key_id, Usage(input_tokens=10_000, output_tokens=50_000), request_id="a", install_id="phone")
    await billed(pool, key_id, Usage(input_tokens=7), request_id="b")
    file = await download(operator, f"admin-export?customer_id={customer_id}")
    month = await month_of(pool)
    assert file.name == f"kaixu-admin-events-{month}-customer{customer_id}.csv"
    assert file.header == ADMIN_EVENTS
    assert file.last == "# rows: 2"
    first, second = file.rows
    assert ISO.fullmatch(first.pop("created_at"))
    assert first == {
        "api_key_id": str(key_id),
        "provider": "up",
        "model": "m",
        "input_tokens": "10000",
        "output_tokens": "50000",
        "cost_cents": "4",
        "install_id": "phone",
    }
    assert (second["input_tokens"], second["install_id"]) == ("7", "")
    of_key = await download(operator, f"admin-export?customer_id={customer_id}&month={month}&api_key_id={key_id}")
    assert of_key.name == f"kaixu-admin-events-{month}-customer{customer_id}-key{key_id}.csv"
    assert of_key.rows[1] == second


async def test_summary_and_invoice_have_the_contracts_columns(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool, cap_nusd=5 * 10**10)
    used, _ = await virtual_key(pool, customer_id)
    unused, _ = await virtual_key(pool, customer_id)
    await billed(pool, used, Usage(input_tokens=10_000, output_tokens=50_000))
    month = await month_of(pool)
    summary = await download(operator, f"admin-export?customer_id={customer_id}&type=summary&month={month}")
    assert summary.name == f"kaixu-admin-summary-{month}-customer{customer_id}.csv"
    assert summary.header == "month,customer_id,email,plan,cap_cents,extra_cents,spent_cents,input_tokens,output_tokens"
    [row] = summary.rows
    assert list(row.values())[3:] == ["starter", "5000", "0", "4", "10000", "50000"]
    assert (row["month"], row["customer_id"]) == (month, str(customer_id))
    invoice = await download(operator, f"admin-export?customer_id={customer_id}&type=invoice&month={month}")
    assert invoice.name == f"kaixu-admin-invoice-{month}-customer{customer_id}.csv"
    assert invoice.header == "type,api_key_id,key_last4,spent_cents,total_tokens"
    assert [(one["type"], one["api_key_id"], one["spent_cents"], one["total_tokens"]) for one in invoice.rows] == [
        ("TOTAL", "", "4", "60000"),
        ("KEY", str(used), "4", "60000"),
        ("KEY", str(unused), "0", "0"),
    ]
    assert invoice.last == "# rows: 3"


async def test_the_cents_of_an_invoices_keys_add_up_to_its_total(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    for _ in range(3):
        key_id, _ = await virtual_key(pool, customer_id)
        await billed(pool, key_id, Usage(input_tokens=1), cost=4_000_000)
    invoice = await download(operator, f"admin-export?customer_id={customer_id}&type=invoice")
    assert [row["spent_cents"] for row in invoice.rows] == ["1", "1", "0", "0"]
    exact = await download(
        operator, f"admin-export?customer_id={customer_id}&type=invoice&columns=spent_usd,spent_nusd"
    )
    assert [(row["spent_usd"], row["spent_nusd"]) for row in exact.rows] == [
        ("0.012", "12000000"),
        *[("0.004", "4000000")] * 3,
    ]


async def test_an_issued_invoice_is_exported_as_it_was_issued(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    other_id, _ = await virtual_key(pool, customer_id)
    await bill_to(pool, customer_id)
    await call(pool, customer_id, key_id, OCTOBER, 10**9)
    await call(pool, customer_id, other_id, OCTOBER, 3 * 10**7)
    asked = f"admin-export?customer_id={customer_id}&type=invoice&month={OCTOBER:%Y-%m}"
    before = await download(operator, asked)
    await finalize(pool, SECTION, customer_id, OCTOBER, actor="test", request_id="r")
    await call(pool, customer_id, key_id, OCTOBER, 10**9)  # the truth that came late
    after = await download(operator, asked)
    assert [row["spent_cents"] for row in after.rows] == ["103", "100", "3"]
    assert after.rows == before.rows
    of_key = await download(operator, f"{asked}&api_key_id={other_id}")
    assert [(row["api_key_id"], row["spent_cents"]) for row in of_key.rows] == [("", "3"), (str(other_id), "3")]


async def test_a_month_without_calls_is_a_file_without_calls(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    await virtual_key(pool, customer_id)
    for kind, rows in (("events", 0), ("summary", 1), ("invoice", 2)):
        file = await download(operator, f"admin-export?customer_id={customer_id}&type={kind}&month=2020-01")
        assert (len(file.rows), file.last) == (rows, f"# rows: {rows}")


async def test_a_key_filters_all_three(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    one, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=10**10)
    other, _ = await virtual_key(pool, customer_id)
    await billed(pool, one, Usage(input_tokens=10_000, output_tokens=50_000))
    await billed(pool, other, Usage(input_tokens=1))
    asked = f"admin-export?customer_id={customer_id}&api_key_id={one}"
    [event] = (await download(operator, asked)).rows
    assert event["api_key_id"] == str(one)
    [summary] = (await download(operator, f"{asked}&type=summary")).rows
    assert (summary["spent_cents"], summary["input_tokens"], summary["cap_cents"]) == ("4", "10000", "1000")
    total, key = (await download(operator, f"{asked}&type=invoice")).rows
    assert (total["total_tokens"], key["api_key_id"]) == ("60000", str(one))


async def test_a_key_stands_for_the_keys_that_it_replaced(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    old, _ = await virtual_key(pool, customer_id)
    await billed(pool, old, Usage(input_tokens=5))
    rotated = await operator.send("PUT", f"admin-keys?rotate_key_id={old}")
    new = rotated["new_key"]["id"]
    await billed(pool, new, Usage(input_tokens=6))
    for key in (old, new):
        rows = (await download(operator, f"admin-export?customer_id={customer_id}&api_key_id={key}")).rows
        assert [(row["api_key_id"], row["input_tokens"]) for row in rows] == [(str(old), "5"), (str(new), "6")]
    total, line = (await download(operator, f"admin-export?customer_id={customer_id}&type=invoice")).rows
    assert (total["total_tokens"], line["api_key_id"], line["total_tokens"]) == ("11", str(new), "11")


async def test_other_columns_are_chosen_by_name(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id, label="laptop")
    await billed(pool, key_id, Usage(input_tokens=10_000, output_tokens=1_000, cached_input_tokens=10), request_id="a")
    await pool.execute("update kaixu.usage_event set app_id = 'shop', build_id = '7', end_user = 'ada'")
    names = (
        "request_id,app_id,build_id,end_user,cost_usd,vendor_cost_usd,margin_usd,cached_input_tokens,key_last4,"
        "key_label,end_reason,usage_source,operation,book,duration_ms,month,cost_nusd,total_tokens"
    )
    file = await download(operator, f"admin-export?customer_id={customer_id}&columns={names}")
    assert file.header == names
    [row] = file.rows
    assert list(row.values()) == [
        "a", "shop", "7", "ada", "0.002750018", "0.00209925", "0.000650768", "10", guarded(key[-4:]), "laptop", "complete",
        "provider", "chat", "ai", "12", await month_of(pool), row["cost_nusd"], "11000",
    ]  # fmt: skip
    assert row["cost_usd"] == f"{int(row['cost_nusd']) / 10**9:.9f}".rstrip("0")
    status, body = await operator.ask("GET", f"admin-export?customer_id={customer_id}&columns=cost,request")
    assert (status, body["field"]) == (400, "columns")
    assert "request_id" in body["hint"]
    assert "margin_usd" in body["hint"]


async def test_every_column_can_be_read(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await billed(pool, key_id, Usage(input_tokens=1))
    for kind, form in (("events", "csv"), ("events", "ndjson"), ("summary", "csv"), ("invoice", "csv")):
        asked = f"admin-export?customer_id={customer_id}&type={kind}&format={form}&columns="
        _, body = await operator.ask("GET", f"{asked}nothing")
        known = body["hint"].removeprefix("The columns are ").removesuffix(".").split(", ")
        response = await operator.client.get(f"/api/{asked}{','.join(known)}", headers=operator.headers)
        assert response.status_code == 200
        lines = (await response.get_data(as_text=True)).splitlines()
        assert len(lines) > 1
        if form == "ndjson":
            assert list(json.loads(lines[0])) == known


async def test_filters_narrow_down_the_events(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    for number in range(4):
        await billed(pool, key_id, Usage(input_tokens=number), request_id=str(number))
    await pool.execute(
        """
        update kaixu.usage_event
           set app_id = 'app' || request_id, end_user = 'user' || request_id, provider = 'p' || request_id,
               model = 'm' || request_id,
               admitted_at = timestamptz '2026-01-01 00:00Z' + request_id::int * interval '1 day', month = '2026-01-01'
        """
    )

    async def found(query: str) -> list[str]:
        file = await download(operator, f"admin-export?customer_id={customer_id}&columns=input_tokens&{query}")
        return [row["input_tokens"] for row in file.rows]

    january = "month=2026-01"
    assert await found(january) == ["0", "1", "2", "3"]
    assert await found("") == []
    assert await found(f"{january}&app=app2") == ["2"]
    assert await found(f"{january}&end_user=user1&provider=p1&model=m1") == ["1"]
    assert await found(f"{january}&end_user=user1&provider=p2") == []
    assert await found("from=2026-01-02&to=2026-01-03") == ["1", "2"]
    assert await found("from=2026-01-02&to=2026-01-03T00:00:00Z") == ["1"]
    assert await found("from=2026-01-03") == ["2", "3"]
    assert await found("from=2026-01-01T23:00:00-02:00") == ["2", "3"]
    assert await found(f"{january}&limit=2") == ["0", "1"]
    assert await found(f"{january}&limit=all") == ["0", "1", "2", "3"]
    file = await download(operator, f"admin-export?customer_id={customer_id}&from=2026-01-02&to=2026-01-04")
    assert file.name == f"kaixu-admin-events-2026-01-02-to-2026-01-04-customer{customer_id}.csv"


async def test_a_call_at_the_end_of_a_month_is_in_one_of_two_adjoining_times(
    pool: asyncpg.Pool, operator: Operator
) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    for number, admitted in enumerate(("2026-01-31 23:59:59.9Z", "2026-02-01 00:00:00.1Z")):
        await billed(pool, key_id, Usage(input_tokens=number), request_id=admitted)
    # The database's clock was a second behind for one call, and a second ahead for the other.
    await pool.execute(
        "update kaixu.usage_event set admitted_at = request_id::timestamptz, "
        "month = case when input_tokens = 0 then date '2026-02-01' else date '2026-01-01' end"
    )
    found = []
    for times in ("from=2026-01-01&to=2026-01-31", "from=2026-02-01&to=2026-02-28"):
        file = await download(operator, f"admin-export?customer_id={customer_id}&columns=input_tokens&{times}")
        found.append([row["input_tokens"] for row in file.rows])
    assert found == [["0"], ["1"]]


async def test_days_are_those_of_the_reporting_zone(pool: asyncpg.Pool, operator: Operator) -> None:
    await set_reporting_zone(pool, "Europe/Berlin")
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    for number, admitted in enumerate(
        ("2026-01-01 22:59Z", "2026-01-01 23:00Z", "2026-01-02 22:59Z", "2026-01-02 23:00Z")
    ):
        await billed(pool, key_id, Usage(input_tokens=number), request_id=admitted)
    await pool.execute("update kaixu.usage_event set month = '2026-01-01', admitted_at = request_id::timestamptz")
    file = await download(operator, f"admin-export?customer_id={customer_id}&from=2026-01-02&to=2026-01-02")
    assert [row["input_tokens"] for row in file.rows] == ["1", "2"]
    assert file.last == "# rows: 2 (days of Europe/Berlin)"
    assert file.name == f"kaixu-admin-events-2026-01-02-to-2026-01-02-customer{customer_id}.csv"
    of_limit = await download(operator, f"admin-export?customer_id={customer_id}&from=2026-01-02&limit=1")
    assert of_limit.last == "# rows: 1 (limit reached; days of Europe/Berlin)"


async def test_money_is_exact_and_cents_are_rounded_as_in_reports(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    random = Random(1)
    amounts = [0, 1, 4_999_999, 5_000_000, 14_999_999, 10**9, 10**9 - 1, 123_450_000_000]
    amounts += [random.randrange(10 ** random.randrange(1, 13)) for _ in range(size(60, 600))]
    await many_events(pool, customer_id, key_id, len(amounts))
    await pool.execute(
        """
        update kaixu.usage_event e set cost_nusd = a.nusd
          from unnest($1::bigint[]) with ordinality a (nusd, at)
          join (select ticket, row_number() over (order by id) as at from kaixu.usage_event) t using (at)
         where e.ticket = t.ticket
        """,
        amounts,
    )
    file = await download(operator, f"admin-export?customer_id={customer_id}&columns=cost_nusd,cost_usd,cost_cents")
    assert sorted((row["cost_nusd"], row["cost_usd"], row["cost_cents"]) for row in file.rows) == sorted(
        (str(nusd), usd(nusd), str(cents_of_nusd(nusd))) for nusd in amounts
    )


async def test_a_file_says_that_its_limit_was_reached(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await billed(pool, key_id, Usage(input_tokens=1))
    await billed(pool, key_id, Usage(input_tokens=1))
    assert (await download(operator, f"admin-export?customer_id={customer_id}&limit=1")).last == (
        "# rows: 1 (limit reached)"
    )
    file = await download(operator, f"admin-export?customer_id={customer_id}&count=0")
    assert file.last.startswith("20")
    assert len(file.text.splitlines()) == 3


async def test_all_customers_in_one_file(pool: asyncpg.Pool, operator: Operator) -> None:
    ids = [await customer(pool), await customer(pool)]
    for customer_id in ids:
        key_id, _ = await virtual_key(pool, customer_id)
        await billed(pool, key_id, Usage(input_tokens=1))
    file = await download(operator, "admin-export?customer_id=all")
    assert file.header == f"customer_id,{ADMIN_EVENTS}"
    assert [row["customer_id"] for row in file.rows] == [str(one) for one in ids]
    summary = await download(operator, "admin-export?customer_id=all&type=summary")
    assert [row["customer_id"] for row in summary.rows] == [str(one) for one in ids]


async def test_no_text_becomes_a_formula_and_no_number_becomes_text(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id, label="=1+2")
    odd = ["=cmd()", "+1", "-1", "@sum", "\t=1", "\r=1", 'say "hi", ok', "line\nbreak", ""]
    for number, text in enumerate(odd):
        await billed(pool, key_id, Usage(input_tokens=number), install_id=f"i{number}", request_id="r")
        await pool.execute(
            "update kaixu.usage_event set install_id = $1, app_id = $1, cost_nusd = -30000000 where install_id = $2",
            text,
            f"i{number}",
        )
    response = await operator.client.get(
        f"/api/admin-export?customer_id={customer_id}&columns=install_id,app_id,key_label,cost_cents,input_tokens",
        headers=operator.headers,
    )
    rows = list(csv.reader(io.StringIO((await response.get_data(as_text=True)), newline="")))[1:]
    assert rows.pop() == ["# rows: 9"]
    for text, row in zip(odd, rows, strict=True):
        safe = f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
        assert row[:3] == [safe, safe, "'=1+2"]
        assert int(row[3]) < 0
    lines = (
        await (
            await operator.client.get(
                f"/api/admin-export?customer_id={customer_id}&columns=install_id&format=ndjson",
                headers=operator.headers,
            )
        ).get_data()
    ).splitlines()
    assert [json.loads(line)["install_id"] for line in lines[:-1]] == odd
    assert json.loads(lines[-1]) == {"rows": 9, "limit_reached": False}


async def test_both_guards_agree(pool: asyncpg.Pool) -> None:
    @settings(max_examples=examples(60))
    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3))
    def agree(text: str) -> None:
        asked.append(text)

    risky = ["=", "\t", "\r1", "\n=1", "＝1+1", "＋1", "－1", "＠SUM(1)"]
    asked = ["", "'=", *risky]
    agree()
    safe = await pool.fetch("select kaixu.csv_text(t) as safe from unnest($1::text[]) t", asked)
    assert [row["safe"] for row in safe] == [guarded(text) for text in asked]
    assert [guarded(text) for text in risky] == [f"'{text}" for text in risky]


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("", 400, "customer_id"),
        ("customer_id=x", 422, "customer_id"),
        ("customer_id=99", 404, None),
        ("customer_id={id}&type=everything", 400, "type"),
        ("customer_id={id}&month=2026-13", 422, "month"),
        ("customer_id={id}&limit=0", 422, "limit"),
        ("customer_id={id}&limit=many", 422, "limit"),
        ("customer_id={id}&limit=999999999999", 422, "limit"),
        ("customer_id={id}&api_key_id=99", 404, None),
        ("customer_id={id}&format=xlsx", 400, "format"),
        ("customer_id={id}&modle=m", 400, "modle"),
        ("customer_id={id}&from=yesterday", 422, "from"),
        ("customer_id={id}&from=9999-01-01", 422, "from"),
        ("customer_id={id}&to=2026-01-01", 400, "from"),
        ("customer_id={id}&from=2026-01-02&to=2026-01-01", 422, "to"),
        ("customer_id={id}&from=2026-01-02&month=2026-01", 400, "month"),
        ("customer_id={id}&type=invoice&provider=up", 400, "provider"),
        ("customer_id={id}&count=2", 400, "count"),
        ("customer_id={id}&columns=id;drop", 400, "columns"),
        ("customer_id=all&type=invoice", 400, "customer_id"),
    ],
)
async def test_a_wrong_request_has_its_status(
    pool: asyncpg.Pool, operator: Operator, query: str, status: int, field: str | None
) -> None:
    customer_id = await customer(pool)
    got, body = await operator.ask("GET", f"admin-export?{query.format(id=customer_id)}")
    assert (got, body.get("field")) == (status, field), body
    assert body["error"]
    assert body["request_id"]


async def test_only_operators_export_other_accounts(pool: asyncpg.Pool, app: Quart) -> None:
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id, role="owner")
    for client in (Operator(app), with_key(app, key)):
        assert (await client.ask("GET", f"admin-export?customer_id={customer_id}"))[0] == 401


class Household:
    """A customer with a key for each of two roles, and a stranger; each key has made one call."""

    def __init__(self, pool: asyncpg.Pool, app: Quart) -> None:
        self.pool = pool
        self.app = app
        self.ids: dict[str, int] = {}
        self.keys: dict[str, str] = {}

    async def make(self) -> Household:
        self.customer_id = await customer(self.pool)
        stranger = await customer(self.pool)
        for at, (role, owner) in enumerate(
            (("owner", self.customer_id), ("deployer", self.customer_id), ("stranger", stranger)), start=1
        ):
            made = await virtual_key(self.pool, owner, role=role if role != "stranger" else "owner")
            self.ids[role], self.keys[role] = made
            await billed(self.pool, self.ids[role], Usage(input_tokens=at))
        return self

    async def tokens(self, role: str, query: str) -> list[str]:
        """The input tokens in the file that a role gets."""
        file = await download(with_key(self.app, self.keys[role]), f"user-export?columns=input_tokens&{query}")
        return [row["input_tokens"] for row in file.rows]

    async def refusal(self, role: str, query: str) -> tuple[int, str]:
        """Status and code of a refusal."""
        status, body = await with_key(self.app, self.keys[role]).ask("GET", f"user-export?{query}")
        return status, body["code"]


@pytest.fixture
async def household(pool: asyncpg.Pool, app: Quart) -> Household:
    return await Household(pool, app).make()


async def test_a_key_exports_its_own_calls_and_an_owner_all(household: Household) -> None:
    assert await household.tokens("deployer", "") == ["2"]
    assert await household.tokens("owner", "") == ["1"]
    assert await household.tokens("owner", "scope=customer") == ["1", "2"]
    assert await household.tokens("owner", f"api_key_id={household.ids['deployer']}") == ["2"]
    assert await household.tokens("stranger", "scope=customer") == ["3"]
    assert await household.tokens("deployer", "type=invoice") == ["2", "2"]
    assert await household.tokens("owner", "type=invoice") == ["3", "2", "1"]
    assert await household.refusal("deployer", "scope=customer") == (403, "ROLE_TOO_LOW")
    assert await household.refusal("deployer", f"api_key_id={household.ids['owner']}") == (403, "FORBIDDEN")
    assert await household.refusal("owner", f"api_key_id={household.ids['stranger']}") == (404, "NOT_FOUND")
    assert (await household.refusal("owner", "customer_id=1"))[0] == 400
    assert (await household.refusal("owner", "columns=vendor_cost_usd"))[0] == 400
    assert (await household.refusal("owner", "scope=everybody"))[0] == 422


async def test_a_customers_files_have_the_contracts_columns(household: Household) -> None:
    month, last4 = await month_of(household.pool), household.keys["deployer"][-4:]
    client = with_key(household.app, household.keys["deployer"])
    events = await download(client, "user-export")
    assert (events.name, events.header) == (f"kaixu-events-{month}-key{last4}.csv", USER_EVENTS)
    summary = await download(client, "user-export?type=summary")
    assert summary.name == f"kaixu-summary-{month}-key{last4}.csv"
    assert summary.header == (
        "month,customer_id,plan,customer_cap_cents,customer_spent_cents,customer_extra_cents,key_id,key_last4,"
        "key_label,key_cap_cents,key_spent_cents"
    )
    [row] = summary.rows
    assert (row["customer_id"], row["key_id"]) == (str(household.customer_id), str(household.ids["deployer"]))
    assert (row["key_last4"], row["key_cap_cents"]) == (guarded(last4), "")
    invoice = await download(client, "user-export?type=invoice")
    assert invoice.name == f"kaixu-invoice-{month}-customer{household.customer_id}.csv"
    assert invoice.header == "type,api_key_id,key_last4,spent_cents,total_tokens"
    assert [one["type"] for one in invoice.rows] == ["TOTAL", "KEY"]


async def test_a_key_with_odd_last_characters_has_a_plain_file_name(household: Household) -> None:
    await household.pool.execute(
        "update kaixu.virtual_key set key_last4 = E'\"\\r\\n/' where id = $1", household.ids["owner"]
    )
    assert (await download(with_key(household.app, household.keys["owner"]), "user-export")).name.endswith(
        "-key____.csv"
    )


async def test_a_session_exports_like_its_key(household: Household, services: Services) -> None:
    token = make_session_token(
        services.secrets.jwt_secret,
        key_id=household.ids["deployer"],
        customer_id=household.customer_id,
        key_last4="abcd",
        ttl_s=600,
    )
    assert len((await download(with_key(household.app, token), "user-export")).rows) == 1


async def test_disabled_customers_and_revoked_keys_get_nothing(household: Household, services: Services) -> None:
    await household.pool.execute("update kaixu.customer set is_active = false where id = $1", household.customer_id)
    for kind in ("events", "summary", "invoice"):
        assert await household.refusal("owner", f"type={kind}") == (403, "CUSTOMER_DISABLED")
    await household.pool.execute("update kaixu.virtual_key set revoked_at = now()")
    assert (await household.refusal("stranger", ""))[0] == 401
    assert (await with_key(household.app, admin_token()).ask("GET", "user-export"))[0] == 401


async def many_events(pool: asyncpg.Pool, customer_id: int, key_id: int, count: int) -> None:
    """Copies of one call."""
    await billed(pool, key_id, Usage(input_tokens=1), request_id="x" * 200)
    names = [
        row["attname"]
        for row in await pool.fetch(
            "select attname from pg_attribute where attrelid = 'kaixu.usage_event'::regclass and attnum > 0 and not attisdropped"
        )
        if row["attname"] not in ("id", "ticket")
    ]
    columns = ", ".join(names)
    await pool.execute(
        f"insert into kaixu.usage_event (ticket, {columns}) select gen_random_uuid(), {columns}"
        " from kaixu.usage_event cross join generate_series(2, $1) where customer_id = $2",
        count,
        customer_id,
    )


class Reader:
    """A client that reads a body slowly, or leaves."""

    def __init__(self) -> None:
        self.read = b""
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, data: bytes) -> None:
        self.read += data
        self.begun.set()
        await self.go_on.wait()


@pytest.fixture
async def one_connection(dsn: str) -> Any:
    """A pool with one connection, as small as the pool of reports may be."""
    pool = await open_pool(dsn, most=1, least=1)
    try:
        yield pool
    finally:
        pool.terminate()


async def test_who_leaves_ends_the_query_and_gives_the_connection_back(
    pool: asyncpg.Pool, one_connection: asyncpg.Pool
) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await many_events(pool, customer_id, key_id, 20_000)
    exports = Exports(one_connection)
    export = read_export({"customer_id": customer_id, "columns": "request_id,created_at"}, await exports.clock())
    subject = await exports.find_subject(export)
    reader = Reader()
    task = asyncio.create_task(exports.write(export, subject, reader))
    await reader.begun.wait()
    running = "select count(*) from pg_stat_activity where query ilike 'copy%' and state = 'active' and datname = current_database()"
    assert await pool.fetchval(running) == 1
    task.cancel()
    reader.go_on.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await one_connection.fetchval("select 1") == 1
    async with asyncio.timeout(20):
        while await pool.fetchval(running):
            await asyncio.sleep(0.02)
    assert exports._places._value == 1


async def test_a_slow_reader_makes_postgres_wait(pool: asyncpg.Pool, one_connection: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await many_events(pool, customer_id, key_id, 20_000)
    exports = Exports(one_connection)
    export = read_export({"customer_id": customer_id, "columns": "request_id,created_at"}, await exports.clock())
    subject = await exports.find_subject(export)
    reader = Reader()
    task = asyncio.create_task(exports.write(export, subject, reader))
    await reader.begun.wait()
    async with asyncio.timeout(20):
        waiting = "select wait_event from pg_stat_activity where query ilike 'copy%' and datname = current_database()"
        while await pool.fetchval(waiting) != "ClientWrite":
            await asyncio.sleep(0.02)
    assert len(reader.read) < 1_000_000  # of 4.5 MB
    reader.go_on.set()
    assert await task == 20_000
    assert reader.read.endswith(b"\n# rows: 20000 (limit reached)\n")


async def test_a_reader_that_stops_gives_its_connection_back(
    pool: asyncpg.Pool, one_connection: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_copy, "STALLED_S", 0.2)
    monkeypatch.setattr(export_copy, "BROKEN_S", 0.2)
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await many_events(pool, customer_id, key_id, 20_000)
    exports = Exports(one_connection)
    export = read_export({"customer_id": customer_id, "columns": "request_id,created_at"}, await exports.clock())
    with pytest.raises(StatementTooSlow):
        await exports.write(export, await exports.find_subject(export), Reader())
    assert await one_connection.fetchval("select 1") == 1
    assert exports._places._value == 1


async def test_customers_leave_a_place_to_the_operator(
    household: Household, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_copy, "WAIT_S", 0.05)
    pool = await open_pool(dsn, most=4, least=1)
    exports = Exports(pool)
    owner = await find_own_key(household.pool, Credential(None, None, household.ids["owner"]))
    own = read_user_export({}, owner, await exports.clock())
    theirs = read_export({"customer_id": household.customer_id}, await exports.clock())
    another = msgspec.structs.replace(own, customer_id=household.customer_id + 1)
    async with exports.place(own):
        with pytest.raises(Overloaded):
            async with exports.place(another):
                pass
        async with exports.place(theirs):
            pass
    async with exports.place(another):
        pass
    pool.terminate()


async def test_a_broken_file_ends_as_partial(pool: asyncpg.Pool, one_connection: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await many_events(pool, customer_id, key_id, 20_000)
    await pool.execute("update kaixu.usage_event set install_id = E'two\nlines, \"quoted\"'")
    exports = Exports(one_connection)
    for form in ("csv", "ndjson"):
        export = read_export(
            {"customer_id": customer_id, "columns": "request_id,install_id,created_at", "format": form},
            await exports.clock(),
        )
        subject = await exports.find_subject(export)
        reader = Reader()
        task = asyncio.create_task(exports.write(export, subject, reader))
        await reader.begun.wait()
        ended = await pool.fetchval(
            "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'copy%' and datname = current_database()"
        )
        assert ended
        reader.go_on.set()
        with pytest.raises(DatabaseAway):
            await task
        if form == "csv":
            *rows, [last] = list(csv.reader(io.StringIO(reader.read.decode(), newline="")))
            assert last == f"# rows: {len(rows) - 1}-partial"
        else:
            *lines, end = reader.read.splitlines()
            assert json.loads(end) == {"rows": len(lines), "partial": True}
        assert 0 < len(reader.read) < 5_000_000


async def test_more_at_a_time_are_refused_by_name(
    household: Household, one_connection: asyncpg.Pool, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_copy, "WAIT_S", 0.05)
    exports = Exports(one_connection)
    owner = await find_own_key(household.pool, Credential(None, None, household.ids["owner"]))
    own = read_user_export({}, owner, await exports.clock())
    theirs = read_export({"customer_id": household.customer_id}, await exports.clock())
    async with exports.place(own):
        with pytest.raises(RateLimited):
            async with exports.place(own):
                pass
        with pytest.raises(Overloaded):
            async with exports.place(theirs):
                pass
    async with exports.place(theirs):
        pass
