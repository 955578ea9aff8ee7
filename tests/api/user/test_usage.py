"""user-summary, user-events, push-whoami, user-push-charges: the contract's fields, to the nano-dollar, by role."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from kaixu.catalog.catalog import IntegrationState
from kaixu.config.price import usd
from kaixu.config.sections import IntegrationSection
from kaixu.edge.month_reply import month_reply
from kaixu.metering.month import figures_of
from kaixu.plugin.book import Book, BookMonth
from kaixu.plugin.operation import Integration
from kaixu.plugin.options import Options
from kaixu.plugin.types import Usage
from kaixu.store.prices import rates_version
from tests.api.admin.conftest import Operator
from tests.support.calls import admit, billed, settle
from tests.support.money import virtual_key

from .conftest import ROLES, Account

READS = ("user-summary", "user-events", "user-devices", "user-push-charges")


async def test_a_summary_has_the_contracts_fields_and_exact_dollars_beside(account: Account) -> None:
    pool = account.pool
    await pool.execute(
        "update kaixu.virtual_key set monthly_cap_nusd = 5000000000 where id = $1", account.ids["deployer"]
    )
    await billed(pool, account.ids["deployer"], Usage(input_tokens=1), cost=123_456_789)
    _, verdict = await admit(pool, account.ids["deployer"], most=1_000_000_000)
    assert verdict.refused is None
    row = await pool.fetchrow(
        "select spent_nusd, held_nusd, input_tokens + output_tokens from kaixu.customer_month where customer_id = $1",
        account.customer_id,
    )
    assert row is not None
    spent, held, tokens = row
    key_spent = await pool.fetchval(
        "select spent_nusd from kaixu.key_month where chain_id = $1", account.ids["deployer"]
    )
    body = await account.client("deployer").get("user-summary")
    assert body["customer"] == {
        "id": account.customer_id, "plan_name": "starter", "monthly_cap_cents": 2000, "is_active": True,
    }  # fmt: skip
    assert body["key"] == {
        "id": account.ids["deployer"], "label": "label-deployer", "key_last4": account.keys["deployer"][-4:],
        "role": "deployer", "has_cap_override": True,
    }  # fmt: skip
    month = body["month"]
    cents = [
        month[name]
        for name in (
            "cap_cents", "spent_cents", "customer_cap_cents", "customer_spent_cents", "customer_remaining_cents",
            "key_cap_cents", "key_spent_cents", "key_remaining_cents",
        )
    ]  # fmt: skip
    assert cents == [2000, 12, 2000, 12, 1987, 500, 12, 487]
    assert (month["customer_tokens"], month["key_tokens"]) == (tokens, 3)
    assert month["customer_spent_usd"] == usd(spent)
    assert month["key_spent_usd"] == usd(key_spent)
    assert (month["customer_held_usd"], held) == (usd(10**9), 10**9)
    assert month["key_remaining_usd"] == usd(5 * 10**9 - key_spent)
    assert month["available_usd"] == body["room_usd"] == usd(5 * 10**9 - key_spent - 10**9)
    assert (body["binds"], [one["limit"] for one in body["money_limits"]]) == ("key_cap", ["customer_cap", "key_cap"])
    await pool.execute("update kaixu.virtual_key set day_cap_nusd = 2000000000 where id = $1", account.ids["deployer"])
    now = await account.client("deployer").get("user-summary")
    # The call in flight was admitted without a cap of a day, so it is not counted for one.
    assert (now["binds"], now["room_usd"]) == ("key_day_cap", usd(2 * 10**9 - key_spent))
    assert "keys" not in body


async def test_a_key_without_a_cap_of_its_own_has_its_accounts(account: Account) -> None:
    await account.pool.execute(
        """
        insert into kaixu.customer_month (customer_id, month, extra_nusd)
        values ($1, date_trunc('month', now() at time zone 'UTC')::date, 10000000000)
        on conflict (customer_id, month, book) do update set extra_nusd = excluded.extra_nusd
        """,
        account.customer_id,
    )
    body = await account.session("viewer").get("user-summary")
    month = body["month"]
    assert (month["cap_cents"], month["key_cap_cents"], month["customer_extra_cents"]) == (3000, 3000, 1000)
    assert month["key_remaining_usd"] == month["customer_remaining_usd"]
    assert body["key"]["has_cap_override"] is False


async def test_a_month_without_calls_is_all_zero(account: Account) -> None:
    for month in ("2020-01", "2020-01-31"):
        body = await account.client("viewer").get(f"user-summary?month={month}")
        assert body["month"]["month"] == "2020-01"
        assert (body["month"]["spent_cents"], body["month"]["key_tokens"]) == (0, 0)
        events = await account.client("viewer").get(f"user-events?month={month}")
        assert (events["events"], events["summary_by_provider"]) == ([], [])


@pytest.mark.parametrize("folded", [False, True], ids=["waiting", "rolled up"])
async def test_events_are_the_keys_own_and_agree_with_the_summary(account: Account, folded: bool) -> None:
    pool = account.pool
    ask = await billed(pool, account.ids["deployer"], Usage(input_tokens=10, output_tokens=5), cost=77_777_777)
    await pool.execute(
        "update kaixu.usage_event set app_id = 'shop', build_id = '7', end_user = 'ada' where ticket = $1", ask.ticket
    )
    if folded:
        await pool.fetchval("select kaixu.fold_usage(1000)")
    body = await account.client("deployer").get("user-events")
    newest, first = body["events"]
    assert (newest["cost_usd"], newest["cost_cents"], newest["input_tokens"]) == ("0.077777777", 8, 10)
    assert (newest["app_id"], newest["build_id"], newest["user"], newest["api_key_id"]) == (
        "shop", "7", "ada", account.ids["deployer"],
    )  # fmt: skip
    assert first["install_id"] == "phone-deployer"
    assert isinstance(first["id"], int)
    assert {"provider", "model", "output_tokens", "created_at"} <= set(first)
    assert not {"vendor_cost_usd", "margin_usd", "price_id", "call"} & set(first)
    summary = await account.client("deployer").get("user-summary")
    [row] = body["summary_by_provider"]
    assert (row["provider"], row["calls"], row["input_tokens"], row["output_tokens"]) == ("up", 2, 12, 5)
    assert row["cost_usd"] == summary["month"]["key_spent_usd"]


async def test_events_before_the_rollups_count_once_while_they_are_filled_in(account: Account) -> None:
    pool = account.pool
    await pool.execute("delete from kaixu.usage_change")
    await pool.execute("update kaixu.usage_event set rolled_up = null")
    await pool.execute(
        "update kaixu.rollup_state set next_id = 0, filled_at = null, end_id = (select max(id) + 1 from kaixu.usage_event)"
    )
    for _ in range(9):
        [row] = (await account.client("owner").get("user-events?scope=customer"))["summary_by_provider"]
        assert (row["calls"], row["input_tokens"]) == (4, 1 + 2 + 3 + 4)
        await pool.fetchval("select kaixu.fill_usage(1)")
        await pool.execute("update kaixu.rollup_state set fill_began_at = now() - interval '1 hour'")
    assert await pool.fetchval("select filled_at is not null from kaixu.rollup_state")


async def test_events_are_paged_without_gaps_and_twins(account: Account) -> None:
    for _ in range(5):
        await billed(account.pool, account.ids["viewer"], Usage(input_tokens=1))
    await account.pool.execute("update kaixu.usage_event set created_at = date_trunc('month', created_at)")
    client = account.client("viewer")
    whole = [row["id"] for row in (await client.get("user-events"))["events"]]
    assert len(whole) == 6
    assert whole == sorted(whole, reverse=True)
    found, cursor = [], ""
    for _ in range(3):
        page = await client.get(f"user-events?limit=2{cursor}")
        found += [row["id"] for row in page["events"]]
        cursor = f"&before_id={page['next_before_id']}"
    assert (found, page["next_before_id"]) == (whole, None)
    strangers = await account.pool.fetchval(
        "select max(id) from kaixu.usage_event where chain_id = $1", account.ids["owner"]
    )
    assert (await client.get(f"user-events?before_id={strangers}"))["events"] == []


async def test_a_key_stands_for_the_keys_that_it_replaced(account: Account) -> None:
    pool, old = account.pool, account.ids["viewer"]
    new, key = await virtual_key(pool, account.customer_id)
    await pool.execute("update kaixu.virtual_key set chain_id = $1 where id = $2", old, new)
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", old)
    await billed(pool, new, Usage(input_tokens=100))
    assert (await account.client("viewer").ask("GET", "user-events"))[0] == 401
    assert (await account.session("viewer").ask("GET", "user-events"))[0] == 401
    account.keys["new"] = key
    body = await account.client("new").get("user-events")
    assert [row["input_tokens"] for row in body["events"]] == [100, 1]
    assert (await account.client("new").get("user-summary"))["month"]["key_tokens"] == 101


@pytest.mark.parametrize("role", ROLES)
async def test_only_admins_and_owners_see_the_whole_account(account: Account, role: str) -> None:
    for client in (account.client(role), account.session(role)):
        own = await client.get("user-events")
        assert [row["api_key_id"] for row in own["events"]] == [account.ids[role]]
        for name in ("user-events", "user-summary", "user-devices"):
            status, body = await client.ask("GET", f"{name}?scope=customer")
            if role in ("viewer", "deployer"):
                assert (status, body["code"]) == (403, "ROLE_TOO_LOW")
                continue
            assert status == 200
            rows = body.get("events") or body.get("keys") or body["devices"]
            ids = {row.get("api_key_id", row.get("id")) for row in rows}
            assert ids == {account.ids[name] for name in ROLES}
            assert "vendor_cost" not in str(body)


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("user-summary?month=2026-13", 400, "month"),
        ("user-events?month=x", 400, "month"),
        ("user-push-charges?month=2026", 400, "month"),
        ("user-events?limit=0", 422, "limit"),
        ("user-events?limit=501", 422, "limit"),
        ("user-events?before_id=x", 422, "before_id"),
        ("user-events?before_id=99999999999999999999", 422, "before_id"),
        ("user-summary?scope=everybody", 422, "scope"),
        ("user-summary?month=%00", 400, "month"),
        ("user-invoices?month=2026-13", 400, "month"),
        ("user-export?month=2026-13", 400, "month"),
        ("user-export?type=summary&month=x", 400, "month"),
    ],
)
async def test_a_wrong_parameter_has_its_error(account: Account, path: str, status: int, field: str) -> None:
    got, body = await account.client("owner").ask("GET", path)
    assert (got, body["field"]) == (status, field), body
    assert body["error"]
    assert body["request_id"]


@pytest.mark.parametrize("name", READS)
async def test_a_disabled_account_is_refused_everywhere(account: Account, pool: asyncpg.Pool, name: str) -> None:
    assert (await account.client("owner").ask("GET", name))[0] == 200
    assert (await account.session("owner").ask("GET", name))[0] == 200
    await pool.execute("update kaixu.customer set is_active = false where id = $1", account.customer_id)
    for client in (account.client("owner"), account.session("owner")):
        status, body = await client.ask("GET", name)
        assert (status, body["code"]) == (403, "CUSTOMER_DISABLED")
    change = {"install_id": "phone-owner", "revoked": True}
    assert (await account.client("owner").ask("PATCH", "user-devices", change))[0] == 403


@pytest.mark.parametrize("name", READS)
async def test_replies_are_not_cached_and_count_as_readings(account: Account, name: str) -> None:
    current = account.services.current
    current.section = current.section.model_copy(update={"readings_per_minute": 2})
    client = account.client("owner")
    response = await client.client.get(f"/api/{name}", headers=client.headers)
    assert response.headers["cache-control"] == "no-store"
    statuses = [(await client.ask("GET", name))[0] for _ in range(2)]
    assert statuses == [200, 429]


async def test_whoami_tells_a_key_who_it_is_and_a_session_too(account: Account) -> None:
    body = await account.client("deployer").get("push-whoami")
    email = await account.pool.fetchval("select email from kaixu.customer where id = $1", account.customer_id)
    assert body == {
        "ok": True, "api_key_id": account.ids["deployer"], "customer_id": account.customer_id, "customer_email": email,
        "role": "deployer", "key_last4": account.keys["deployer"][-4:],
    }  # fmt: skip
    # The older login page stores its session as the key.
    assert await account.session("deployer").get("push-whoami") == body


async def test_push_charges_are_zero_until_their_books_are_used(account: Account) -> None:
    body = await account.client("viewer").get("user-push-charges")
    assert body["transparency"]
    assert (body["currency"], body["total_push_cents"], body["total_push_usd"]) == ("USD", 0, "0.00")
    for name, more in (
        ("netlify", {"per_deploy_cents", "deploys_ready"}),
        ("github", {"per_push_cents", "pushes_done"}),
    ):
        assert {
            "pricing_version", "base_month_cents", "per_gb_cents", "bytes_uploaded", "gb_estimate", "total_cents",
        } | more <= set(body[name])  # fmt: skip
        assert body[name]["total_cents"] == 0


async def in_book(account: Account, book: str, cost: int) -> None:
    """A call that was billed in a book."""
    price_id = await rates_version(account.pool, provider=book, model="deploy", rates={"deploy": 10**8})
    ask, verdict = await admit(
        account.pool,
        account.ids["deployer"],
        provider=book,
        model="deploy",
        operation=f"{book}.deploy",
        price_id=price_id,
        book=book,
    )
    assert verdict.refused is None
    await settle(account.pool, ask, verdict, Usage(), cost=cost, units={"deploys": 1})


def stated(month: BookMonth) -> dict[str, Any]:
    """What a book shows."""
    return {"pricing_version": month.pricing_version, "lines": [line.charge for line in month.lines], "total_cents": -1}


def breaks(month: BookMonth) -> dict[str, Any]:
    raise KeyError("a bug")


async def test_push_charges_are_what_the_books_of_pushes_state_and_add_up(account: Account) -> None:
    for book, cost in (("push", 225_000_000), ("github", 204_999_999), ("other", 10**9)):
        await in_book(account, book, cost)
    body = await account.client("viewer").get("user-push-charges")
    assert (body["netlify"]["total_cents"], body["github"]["total_usd"]) == (23, "0.204999999")
    assert (body["netlify"]["deploys_ready"], body["github"]["pushes_done"]) == (0, 0)  # nobody states the books
    # 22.5 and 20.4999999 cents are 43 together: one of them is rounded up.
    assert (body["total_push_cents"], body["total_push_usd"]) == (43, "0.429999999")
    integration = Integration("pushes", [], books=[Book("push", statement=stated), Book("github", statement=breaks)])
    account.services.catalog.integrations["pushes"] = IntegrationState(
        "pushes", IntegrationSection(), "on", None, integration, Options(), {}, where="pushes.py"
    )
    body = await account.client("viewer").get("user-push-charges")
    assert body["netlify"] == {
        "pricing_version": "default", "lines": ["push.deploy"], "total_cents": 23, "total_usd": "0.225",
    }  # fmt: skip
    assert (body["github"]["pushes_done"], body["github"]["total_cents"]) == (0, 20)
    assert body["total_push_cents"] == 43
    spent = await account.pool.fetchval(
        "select sum(spent_nusd)::bigint from kaixu.customer_month where book in ('push', 'github')"
    )
    assert usd(spent) == body["total_push_usd"]
    assert (await account.client("stranger").get("user-push-charges"))["total_push_cents"] == 0


@pytest.mark.parametrize(
    ("query", "tags"),
    [
        ("app=shop", {"app_id": "shop"}),
        ("end_user=ada", {"end_user": "ada"}),
        ("model=big", {"model": "big"}),
        ("provider=other", {"provider": "other"}),
        ("provider=other&model=big&app=shop", {"provider": "other", "model": "big", "app_id": "shop"}),
        ("from=2026-01-02&to=2026-01-02", {"admitted_at": "2026-01-02 12:00:00+00", "month": "2026-01-01"}),
        ("from=2026-01-02T12:00:00Z&to=2026-01-02T12:00:01Z", {"admitted_at": "2026-01-02 12:00:00+00", "month": "2026-01-01"}),
    ],
)  # fmt: skip
async def test_events_are_filtered_and_their_sums_with_them(account: Account, query: str, tags: dict[str, str]) -> None:
    changed = await billed(account.pool, account.ids["owner"], Usage(input_tokens=50))
    for column, text in tags.items():
        kind = {"admitted_at": "timestamptz", "month": "date"}.get(column, "text")
        await account.pool.execute(
            f"update kaixu.usage_event set {column} = $1::text::{kind} where ticket = $2", text, changed.ticket
        )
        if column in ("provider", "model"):
            await account.pool.execute(f"update kaixu.usage_change set {column} = $1 where input_tokens = 50", text)
    for client in (account.client("owner"), account.session("owner")):
        for scope in ("key", "customer"):
            body = await client.get(f"user-events?{query}&scope={scope}")
            assert [row["input_tokens"] for row in body["events"]] == [50]
            [row] = body["summary_by_provider"]
            assert (row["calls"], row["input_tokens"]) == (1, 50)
    assert (await account.client("admin").get(f"user-events?{query}"))["events"] == []
    assert (await account.client("stranger").get(f"user-events?{query}&scope=customer"))["events"] == []


async def test_a_filter_of_everything_changes_nothing(account: Account) -> None:
    client = account.client("owner")
    plain, filtered = [await client.get(f"user-events?scope=customer{more}") for more in ("", "&provider=up")]
    assert plain["summary_by_provider"] == filtered["summary_by_provider"]
    assert plain["events"] == filtered["events"]
    assert (plain["filters"], filtered["filters"]) == ({}, {"provider": "up"})
    assert plain["reporting_zone"] == "UTC" == (await client.get("user-summary"))["reporting_zone"]


async def test_an_owner_names_another_key_of_the_account_and_nobody_elses(account: Account) -> None:
    ids = account.ids
    body = await account.client("owner").get(f"user-events?api_key_id={ids['viewer']}")
    assert [row["api_key_id"] for row in body["events"]] == [ids["viewer"]]
    for name, of, status in (
        ("viewer", "viewer", 200),
        ("viewer", "owner", 403),
        ("deployer", "viewer", 403),
        ("viewer", "stranger", 403),
        ("owner", "stranger", 404),
        ("admin", "owner", 200),
    ):
        for client in (account.client(name), account.session(name)):
            assert (await client.ask("GET", f"user-events?api_key_id={ids[of]}"))[0] == status, (name, of)


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("to=2026-01-01", 400, "from"),
        ("from=2026-01-02&to=2026-01-01", 422, "to"),
        ("from=2026-01-02&month=2026-01", 400, "month"),
        ("from=yesterday", 422, "from"),
        ("from=1999-01-01", 422, "from"),
        ("api_key_id=x", 422, "api_key_id"),
        ("app=" + "x" * 301, 422, "app"),
    ],
)
async def test_a_wrong_filter_has_its_error(account: Account, query: str, status: int, field: str) -> None:
    got, body = await account.client("owner").ask("GET", f"user-events?{query}")
    assert (got, body["field"]) == (status, field), body


async def test_a_key_reads_the_figures_that_the_operator_reads(account: Account, operator: Operator) -> None:
    pool, key_id = account.pool, account.ids["owner"]
    await billed(pool, key_id, Usage(input_tokens=3), cost=123_456_789)
    _, verdict = await admit(pool, key_id, most=777_777_777)
    assert verdict.refused is None
    await operator.send("POST", "admin-topup", {"customer_id": account.customer_id, "amount_cents": 500})
    of_operator = await operator.get(f"admin-usage?customer_id={account.customer_id}")
    of_key = await account.client("owner").get("user-summary?scope=customer")
    month, rollup = of_key["month"], of_operator["rollup"]
    for ours, theirs in (
        ("customer_cap_cents", "cap_cents"),
        ("customer_cap_usd", "cap_usd"),
        ("customer_spent_cents", "spent_cents"),
        ("customer_spent_usd", "spent_usd"),
        ("customer_held_usd", "held_usd"),
        ("customer_extra_cents", "extra_cents"),
        ("customer_calls", "calls"),
        ("available_usd", "available_usd"),
    ):
        assert month[ours] == rollup[theirs], ours
    assert month["customer_tokens"] == rollup["input_tokens"] + rollup["output_tokens"]
    per_key = {row["id"]: row for row in of_operator["per_key"]}
    for row in of_key["keys"]:
        assert {name: per_key[row["id"]][name] for name in row} == row
    assert month["key_spent_usd"] == per_key[key_id]["spent_usd"]
    events = {row["id"]: row for row in of_operator["events"]}
    for row in (await account.client("owner").get("user-events?scope=customer"))["events"]:
        assert row["cost_usd"] == events[row["id"]]["cost_usd"]
    # And those of a call's reply, which was admitted before the top-up.
    figures = month_reply(figures_of(verdict))
    assert figures["key_cap_cents"] == 2000 == month["key_cap_cents"] - 500
    assert (figures["held_usd"], figures["customer_spent_cents"]) == (month["customer_held_usd"], month["spent_cents"])
