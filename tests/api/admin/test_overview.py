"""`admin-overview`: its figures are those of the other reports, and what needs attention is there, once each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from kaixu.catalog.catalog import Catalog, Deployment, IntegrationState, LaneState
from kaixu.config.price import Price
from kaixu.config.sections import BreakerSection, IntegrationSection, LaneSection, TimeoutSection
from kaixu.edge.services import Services
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.lane import Lane
from kaixu.plugin.types import Usage
from kaixu.store.alerts import Delivery, queue_deliveries, raise_alert
from kaixu.store.clock import this_month
from kaixu.store.rollups import fold_usage
from tests.support.calls import billed
from tests.support.money import customer, virtual_key
from tests.support.operators import operator_with_role, token_with_scopes

from .conftest import Operator

USAGE = Usage(input_tokens=10_000, output_tokens=1_000, cached_input_tokens=100)
FIGURES = ("calls", "errors", "input_tokens", "output_tokens", "spent_usd", "vendor_cost_usd", "uncosted_usd")


async def overview(operator: Operator) -> Any:
    """The overview."""
    return await operator.get("admin-overview")


async def items(operator: Operator, kind: str) -> list[dict[str, Any]]:
    """The items of a kind."""
    return [item for item in (await overview(operator))["attention"]["items"] if item["kind"] == kind]


async def calls(pool: asyncpg.Pool) -> tuple[int, int]:
    """Two customers with calls, some of them not complete; their ids."""
    first, second = await customer(pool), await customer(pool)
    for customer_id, times in ((first, 3), (second, 1)):
        key_id, _ = await virtual_key(pool, customer_id)
        for _ in range(times):
            await billed(pool, key_id, USAGE)
        await billed(pool, key_id, Usage(input_tokens=3, output_tokens=1), end_reason="client_gone")
    return first, second


async def test_an_empty_gateway_has_zeros_and_nothing_to_look_at(operator: Operator) -> None:
    body = await overview(operator)
    for figures in (body["today"], body["today"]["compared"], body["month"], body["month"]["compared"], *body["days"]):
        assert [figures[name] for name in FIGURES] == [0, 0, 0, 0, "0.00", "0.00", "0.00"]
        assert (figures["margin_usd"], figures["margin_percent"], figures["p95_ms"]) == ("0.00", None, None)
    assert (body["top_customers"], body["top_models"]) == ([], [])
    assert body["attention"] == {"count": 0, "counts": [], "items": []}
    assert len(body["days"]) == 14
    assert body["reporting_zone"] == "UTC"


async def test_figures_are_those_of_the_other_reports_folded_or_not(pool: asyncpg.Pool, operator: Operator) -> None:
    first, second = await calls(pool)
    for _ in range(3):
        body = await overview(operator)
        models = (await operator.get("admin-usage-margin?by=model"))["rows"]
        [row] = models
        month = {name: body["month"][name] for name in (*FIGURES[:1], *FIGURES[2:])}
        assert month == {name: row[name] for name in month}
        assert body["month"]["margin_usd"] == row["margin_usd"]
        assert body["month"]["margin_percent"] == row["margin_percent"] == 23.66
        [chart] = (await operator.get(f"admin-usage-chart?from={body['today']['from']}&interval=day"))["rows"]
        for figures in (body["today"], body["days"][-1]):
            assert {name: figures[name] for name in FIGURES} == {name: chart[name] for name in FIGURES}
            assert (figures["p50_ms"], figures["p95_ms"]) == (chart["p50_ms"], chart["p95_ms"]) == (14, 14)
        customers = (await operator.get("admin-usage-top?by=customer"))["rows"]
        assert [(str(one["customer_id"]), one["email"], one["spent_usd"]) for one in body["top_customers"]] == [
            (row["id"], row["name"], row["spent_usd"]) for row in customers
        ]
        assert [one["customer_id"] for one in body["top_customers"]] == [first, second]
        for one in (*body["top_customers"], *body["top_models"]):
            assert len(one["spent_by_day_usd"]) == 14
            assert one["spent_by_day_usd"][-1] == one["spent_usd"]
        assert {(one["provider"], one["model"], one["calls"]) for one in body["top_models"]} == {("up", "m", 6)}
        station = await operator.get("admin-skyefuel-station")
        assert [one["id"] for one in station["leaders"]] == [first, second]
        await fold_usage(pool, most=3)


async def test_the_time_before_is_compared_by_as_much_of_it(pool: asyncpg.Pool, operator: Operator) -> None:
    """A call of yesterday, and one of the first minute of the last month."""
    await calls(pool)
    while await fold_usage(pool, most=100):
        pass
    await pool.execute(
        """
        insert into kaixu.usage_change (bucket, customer_id, chain_id, provider, model, book, calls, errors, input_tokens,
                                        output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens,
                                        spent_nusd, vendor_cost_nusd, uncosted_nusd)
        select x.bucket, 1, 1, 'up', 'm', 'ai', x.calls, 0, 0, 0, 0, 0, 0, 0, 0, 0
          from (values (date_trunc('day', now(), 'UTC') - interval '1 day', 7),
                       (date_trunc('day', now(), 'UTC') - interval '15 minutes', 100),
                       (date_trunc('month', now(), 'UTC') - interval '1 month', 20)) x (bucket, calls)
        """
    )
    await pool.execute(
        "insert into kaixu.refusal_quarter (bucket, customer_id, key_id, provider, model, code, calls) values"
        " (date_trunc('day', now(), 'UTC'), 0, 0, '', '', 'UNAUTHENTICATED', 4),"
        " (date_trunc('day', now(), 'UTC') - interval '1 day', 0, 0, '', '', 'UNAUTHENTICATED', 3)"
    )
    body = await overview(operator)
    assert body["today"]["calls"] == 6
    is_last_quarter = await pool.fetchval(
        "select now() >= date_trunc('day', now(), 'UTC') + interval '23 hours 45 minutes'"
    )
    assert body["today"]["compared"]["calls"] == (107 if is_last_quarter else 7)
    assert (body["today"]["refusals"], body["today"]["compared"]["refusals"]) == (4, 3)
    assert body["month"]["compared"]["calls"] >= 20
    assert sum(day["calls"] for day in body["days"]) == 113


async def test_customers_near_their_cap_are_listed_with_the_fullest_first(
    pool: asyncpg.Pool, operator: Operator
) -> None:
    month = await this_month(pool)
    cap = 10 * 10**9
    for percent, fields in (
        (89, {}), (90, {}), (99, {}), (100, {}), (130, {}), (95, {"is_active": False}), (50, {}),
    ):  # fmt: skip
        customer_id = await customer(pool, cap_nusd=cap, **fields)
        await pool.execute(
            "insert into kaixu.customer_month (customer_id, month, spent_nusd) values ($1, $2, $3)",
            customer_id, month, cap // 100 * percent,
        )  # fmt: skip
    topped_up = await customer(pool, cap_nusd=cap)
    await pool.execute(
        "insert into kaixu.customer_month (customer_id, month, spent_nusd, extra_nusd) values ($1, $2, $3, $3)",
        topped_up, month, cap,
    )  # fmt: skip
    found = await items(operator, "customer_cap")
    assert [(item["state"], item["text"]) for item in found] == [
        ("bad", "customer4@example.com: $13.00 of $10.00 spent (130 %)"),
        ("bad", "customer3@example.com: $10.00 of $10.00 spent (100 %)"),
        ("warn", "customer2@example.com: $9.90 of $10.00 spent (99 %)"),
        ("warn", "customer1@example.com: $9.00 of $10.00 spent (90 %)"),
    ]
    assert {item["tab"] for item in found} == {"billing"}
    assert all(item["parameters"]["customer_id"].isdigit() for item in found)


async def test_more_caps_than_are_listed_are_counted(pool: asyncpg.Pool, operator: Operator) -> None:
    month = await this_month(pool)
    for _ in range(13):
        customer_id = await customer(pool, cap_nusd=100)
        await pool.execute(
            "insert into kaixu.customer_month (customer_id, month, spent_nusd) values ($1, $2, 95)", customer_id, month
        )
    attention = (await overview(operator))["attention"]
    assert (len(attention["items"]), attention["count"], attention["counts"]) == (
        10, 13, [{"kind": "customer_cap", "count": 13}],
    )  # fmt: skip


async def test_the_cap_of_a_rotated_key_is_that_of_the_new_one(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    old, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=100)
    new, key = await virtual_key(pool, customer_id, monthly_cap_nusd=1000, label="laptop")
    await pool.execute("update kaixu.virtual_key set chain_id = $1 where id = $2", old, new)
    await pool.execute(
        "insert into kaixu.key_month (chain_id, customer_id, month, spent_nusd) values ($1, $2, $3, 950)",
        old, customer_id, await this_month(pool),
    )  # fmt: skip
    [item] = await items(operator, "key_cap")
    assert item == {
        "kind": "key_cap", "state": "warn", "tab": "keys",
        "text": f"customer0@example.com, key laptop …{key[-4:]}: $0.00 of $0.00 spent (95 %)",
        "parameters": {"customer_id": str(customer_id), "key_id": str(new)},
    }  # fmt: skip
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", new)
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", old)
    assert await items(operator, "key_cap") == []


async def test_a_cap_is_spent_by_all_books_together(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=1000)
    for table, column, number in (("key_month", "chain_id", key_id), ("customer_month", "customer_id", customer_id)):
        more = {"customer_id": customer_id} if table == "key_month" else {}
        for book, spent in (("ai", 460), ("push", 450)):
            values = {column: number, **more, "month": await this_month(pool), "book": book, "spent_nusd": spent}
            marks = ", ".join(f"${at}" for at in range(1, len(values) + 1))
            await pool.execute(f"insert into kaixu.{table} ({', '.join(values)}) values ({marks})", *values.values())
    await pool.execute(
        "insert into kaixu.usage_series (customer_id, chain_id, provider, model, deployment, book)"
        " select 0, 0, 'up', 'm', '', b from unnest(array['ai', 'push']) b"
    )
    found = (await overview(operator))["attention"]["items"]
    assert [item["kind"] for item in found] == ["customer_cap", "key_cap"]
    assert all(item["text"].endswith("(91 %)") for item in found)


async def test_what_could_not_be_sent_waits_or_was_lost_is_listed(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    await pool.execute(
        """
        insert into kaixu.receiver_failure (receiver, customer_id, failures, told_at)
        values ('alerts', null, 6, now()), ('alerts:later', null, 1, null), ('jobs:7', $1, 3, now())
        """,
        customer_id,
    )
    await queue_deliveries(pool, [Delivery("alerts", "TOPPED_UP", b"{}", number, None) for number in (1, 2)])
    await pool.execute("update kaixu.webhook_delivery set next_attempt_at = null")
    await pool.execute(
        """
        insert into kaixu.mail (id, idempotency_key, kind, recipient, subject, state, next_attempt_at, created_at)
        values ($1, 'a', 'test', 'a@example.com', 's', 'failed', null, now()),
               ($2, 'b', 'test', 'a@example.com', 's', 'waiting', now(), now() - interval '1 hour')
        """,
        uuid4(), uuid4(),
    )  # fmt: skip
    await pool.execute(
        """
        insert into kaixu.key_request (id, address, mailbox, network, state, recipient, spellings, counted_at, created_at)
        select gen_random_uuid(), 'a@example.com', 'a@example.com', '', s, 'a@example.com', '{}', now(), now()
          from unnest(array['held', 'held', 'issued']) s
        """
    )
    await pool.execute(
        """
        insert into kaixu.gateway_event (kind, detail, level, extra, created_at)
        values ('info', 'dropped', 'warn', '{"dropped": 5}', now()), ('info', 'dropped', 'warn', '{"dropped": 2}', now()),
               ('info', 'dropped', 'warn', '{"dropped": 9}', now() - interval '2 days'), ('info', 'tries', 'warn', '{}', now())
        """
    )
    await pool.execute(
        """
        insert into kaixu.job (id, customer_id, kind, request_id, payload, status, most_attempts, run_after)
        select gen_random_uuid(), $1, 'chat', 'r', '', 'queued', 3, now() + x from unnest(array[
            interval '-10 minutes', interval '-1 minute', interval '1 hour']) x
        """,
        customer_id,
    )
    await pool.execute("update kaixu.rollup_state set end_id = 100, next_id = 3, filled_at = null")
    await pool.execute(
        "insert into kaixu.vendor_state (lane, upstream, is_down, since) select 'core', u, u = 'gpt', now() - interval '10 minutes' from unnest(array['gpt', 'up']) u"
    )
    attention = (await overview(operator))["attention"]
    assert [(item["kind"], item["state"], item["text"], item["tab"]) for item in attention["items"]] == [
        ("vendor", "bad", "gpt on lane core has not answered for 10 minutes", "lanes"),
        ("webhook", "bad", "The webhook of ALERT_WEBHOOK_URL has failed 6 times in a row", "monitor"),
        ("mail", "bad", "1 mail could not be sent in the last 24 hours: see `kaixu mail list`", "monitor"),
        ("webhook", "warn", f"The webhook of customer {customer_id} for jobs has failed 3 times in a row", "billing"),
        ("lost_webhook", "warn", "2 webhooks could not be delivered in the last 24 hours", "monitor"),
        ("mail", "warn", "1 mail not sent yet, the oldest for 60 minutes: see `kaixu mail list`", "monitor"),
        ("monitor", "warn", "7 monitor events dropped in the last 24 hours", "monitor"),
        ("queue", "warn", "2 jobs due and not begun, the oldest for 10 minutes: see `kaixu jobs list`", "monitor"),
        ("key_request", "warn", "2 requests for a key to approve or deny", "keys"),
        ("rollups", "info", "Calls from before the last upgrade are still being added up: charts are not complete yet", "usage"),
    ]  # fmt: skip
    assert attention["count"] == len(attention["items"])
    assert {one["kind"]: one["count"] for one in attention["counts"]} == {
        "vendor": 1, "webhook": 2, "mail": 2, "lost_webhook": 1, "monitor": 1, "queue": 1, "key_request": 1, "rollups": 1,
    }  # fmt: skip


async def test_losses_of_models_and_customers_are_told_for_a_day(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    body = {"day": "2026-11-03", "calls": 3, "spent_nusd": 1, "vendor_cost_nusd": 2, "margin_nusd": -1}
    await raise_alert(pool, "MARGIN_NEGATIVE", {**body, "subject": "model", "name": "up/m"})
    await raise_alert(pool, "MARGIN_NEGATIVE", {**body, "subject": "customer", "name": "1"}, customer_id=customer_id)
    await raise_alert(pool, "MARGIN_NEGATIVE", {**body, "subject": "model", "name": "up/old"})
    await pool.execute(
        "update kaixu.alert set created_at = now() - interval '25 hours' where body ->> 'name' = 'up/old'"
    )
    assert [(item["text"], item["tab"], item["parameters"]) for item in await items(operator, "margin")] == [
        (f"Customer {customer_id} (customer0@example.com) has cost more than it has brought on 2026-11-03", "usage",
         {"customer_id": str(customer_id)}),
        ("Model up/m has cost more than it has brought on 2026-11-03", "lanes", {"lane": "up", "model": "m"}),
    ]  # fmt: skip


def deployment(lane: LaneState, upstream: str, *, price: int = 5, cost: int | None = 3, others: Sequence[Deployment] = ()) -> Deployment:  # fmt: skip
    """A deployment on a lane."""
    return Deployment(
        provider="core", model="talk", kind="chat", upstream=upstream, lane=lane.lane, state=lane,
        price=Price(price, price, price, price, price), cost=None if cost is None else Price(cost, cost, 3, 3, 3),
        max_output_tokens=10, default_output_tokens=10, image_tokens=None, dimensions=None, fixed_dimensions=False,
        on_disconnect="cancel", timeouts=TimeoutSection(), retries=0, name=upstream, breaker=BreakerSection(failures=1),
        others=tuple(others),
    )  # fmt: skip


def lane(name: str, state: Any = "on", reason: str | None = None) -> LaneState:
    """The state of a lane."""
    section = LaneSection.model_construct(plugin="echo", models={})
    return LaneState(name, section, state, reason, Lane() if state == "on" else None)


async def test_lanes_breakers_and_prices_of_this_process_are_listed(
    pool: asyncpg.Pool, operator: Operator, services: Services
) -> None:
    core, second = lane("core"), lane("second")
    spare = deployment(second, "spare")
    model = deployment(core, "gpt_1", price=2, others=[spare])
    services.current.catalog = Catalog(
        lanes={one.name: one for one in (core, second, lane("swift", "off", "SWIFT_KEY is not set"), lane("bad", "failed", "no"))},
        models={"core": {"talk": model}},
        integrations={"push": IntegrationState(
            "push", IntegrationSection.model_construct(plugin="push"), "failed", "no schema", None, None, {}
        )},
    )  # fmt: skip
    services.gate.breakers.failed(model, UpstreamError("the vendor failed (500)"))
    await pool.execute("insert into kaixu.vendor_state (lane, upstream, is_down) values ('core', 'gpt_1', true)")
    services.mail_health.failure = "the server does not answer"
    found = (await overview(operator))["attention"]["items"]
    breaker = "core/talk: breaker of gpt_1 on lane core is open (UPSTREAM_ERROR); "
    expected = [
        ("lane", "bad", "Lane bad has failed: no", {"lane": "bad"}),
        ("integration", "bad", "Integration push has failed: no schema", {"name": "push"}),
        ("mail", "bad", "This gateway cannot send mails: the server does not answer", {}),
        ("lane", "warn", "Lane swift is off: SWIFT_KEY is not set", {"lane": "swift"}),
        ("breaker", "warn", f"{breaker}another deployment serves", {"lane": "core"}),
        ("price", "warn", "core/talk on lane core: the price is below the vendor's for input, output, cached input, "
         "cache write, reasoning", {"lane": "core", "model": "talk"}),
    ]  # fmt: skip
    assert [(item["kind"], item["state"], item["text"], item["parameters"]) for item in found] == expected
    services.gate.breakers.failed(spare, UpstreamError("the vendor failed (500)"))
    assert [(item["state"], item["text"]) for item in await items(operator, "breaker")] == [
        ("bad", f"{breaker}no other deployment serves"),
        ("bad", f"{breaker.replace('gpt_1 on lane core', 'spare on lane second')}no other deployment serves"),
    ]


@pytest.mark.parametrize("who", ["viewer", "a token that reads"])
async def test_whoever_may_read_sees_it(pool: asyncpg.Pool, operator: Operator, who: str) -> None:
    if who == "viewer":
        _, headers = await operator_with_role(pool, "viewer")
    else:
        headers = {"authorization": f"Bearer {await token_with_scopes(pool, 'read')}"}
    assert (await overview(Operator(operator.client.app, **headers)))["attention"]["count"] == 0
