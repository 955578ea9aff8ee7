"""What calls run touches rows of their own customers only: the plans of all hot statements, within functions too.

A plan is right if each scan of a table that would be spread by customer (schema/distribution.yaml) has an index condition
on customer_id, or on an identifier that belongs to one customer for ever. Plans of searches: tests/store/test_search.py.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest
import yaml

import kaixu.store
from kaixu.assets import asset
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.types import Usage
from kaixu.store import admission, collections, documents, events, jobs, operation_limits, readings, responses
from kaixu.store.admission import Ask, Settlement, Verdict
from kaixu.store.pool import prepare_connection
from kaixu.store.query import Query
from tests.support.calls import OWNER, admit, settle
from tests.support.plans import Plans, Scan, plans_of

LISTED: dict[str, Any] = yaml.safe_load((Path(str(asset("schema"))) / "distribution.yaml").read_text())
HOT_TABLES = {*LISTED["distributed"], "job", "gateway_event"} - {"usage_change"}

#: Columns that, together, belong to one customer for ever.
IDENTIFIERS: dict[str, list[set[str]]] = {
    "customer": [{"id"}],
    "virtual_key": [{"id"}, {"key_hash"}, {"chain_id"}, {"group_id"}],
    "key_month": [{"chain_id", "month"}],
    "device": [{"chain_id"}],
    "rate_window": [{"chain_id"}],
    "reading_window": [{"chain_id"}],
    "reservation": [{"ticket"}],
    "usage_event": [{"month", "ticket"}, {"chain_id"}],
    "operation_call": [{"ticket"}],
    "keyed_charge": [{"ticket"}],
    "key_group": [{"id"}],
    "collection": [{"id"}, {"replaces_id"}],
    "document": [{"collection_id"}],
    "reembedding": [{"collection_id"}, {"copy_id"}, {"id"}],
    "job": [{"id"}, {"account"}],
}

#: Scans over all customers that a hot statement may make, with the reason.
ALLOWED: dict[str, dict[Scan, str]] = {
    "first admission of a day": {
        Scan(
            "reservation", ()
        ): "all calls in flight are looked through once a day for each limit, for those of its customer"
    },
    "expire": {
        Scan(
            "reservation", ()
        ): "the reaper looks through all calls in flight, once for all gateways: an index that every "
        "renewal had to write would cost more"
    },
    "claim jobs": {
        Scan("job", ("leased_until",)): "running jobs whose lease has ended, by an index of those that run",
        Scan(
            "job", ("(expression)",)
        ): "waiting jobs from before the clock was set back: an index finds them, mostly none",
        Scan("job", ("provider", "serial")): "the line of a job with `serial`, which may be for several customers",
        Scan("job", ("provider", "serial", "serial_no")): "the same",
        Scan("job", ()): "the head of an index of waiting or running jobs: it is read in its order, up to a limit",
    },
}

#: Modules whose statements all run below.
HOT_MODULES = (admission, operation_limits, readings)

#: Modules without a hot statement of their own, and those whose hot statements run below beside others.
OTHER_MODULES = {
    "alert_webhooks",
    "alerts",
    "allowlists",
    "audit",
    "batches",
    "billing",
    "blob_files",
    "blob_rows",
    "blob_sweep",
    "blobs",
    "books",
    "callbacks",
    "cap_alerts",
    "charge_effects",
    "clock",
    "codes",
    "collections",
    "conditions",
    "customer_deletion",
    "customer_effects",
    "customer_list",
    "customer_views",
    "customers",
    "demo",
    "demo_events",
    "demo_figures",
    "demo_removal",
    "devices",
    "documents",
    "embedded",
    "end_users",
    "errors",
    "events",
    "exclusive",
    "failures",
    "group",
    "heartbeat",
    "imports",
    "integration_messages",
    "integration_secrets",
    "integration_settings",
    "invoices",
    "job_rows",
    "job_webhooks",
    "jobs",
    "jobs_only",
    "key_groups",
    "key_list",
    "key_requests",
    "keys",
    "limits",
    "listen",
    "login",
    "mail",
    "migrate",
    "monitor_partitions",
    "monitor_removal",
    "month_close",
    "operator_invitations",
    "operator_sessions",
    "operator_tokens",
    "operators",
    "partition_indexes",
    "partitions",
    "plans",
    "platforms",
    "plugin_blobs",
    "plugin_credits",
    "plugin_database",
    "plugin_databases",
    "plugin_deletion",
    "plugin_jobs",
    "plugin_login",
    "plugin_pool",
    "plugin_reading",
    "plugin_roles",
    "plugin_schema",
    "plugin_transaction",
    "pool",
    "pools",
    "prices",
    "pruning",
    "query",
    "reactions",
    "reembedding",
    "remote_checks",
    "responses",
    "rights",
    "rollups",
    "schedules",
    "sealed_texts",
    "search",
    "secret_fingerprints",
    "settings_changes",
    "shares",
    "skip_locked_accounts",
    "spool",
    "topups",
    "vector_index",
    "vectors",
    "vendor_state",
    "webhook_deliveries",
    "webhook_events",
}

CUSTOMERS = 4000
USED = Usage(input_tokens=70, output_tokens=30)

#: Rows of many customers in every table that calls touch.
SEED = """
    insert into kaixu.customer (id, email, monthly_cap_nusd, tpm_limit, has_limits)
    overriding system value select n, 'c' || n || '@example.com', 1000000000000, 1000000, true from generate_series(1, {customers}) n;
    insert into kaixu.key_group (id, customer_id, name, day_cap_nusd)
    overriding system value select n, n, 'team', 1000000000000 from generate_series(1, {customers}) n;
    insert into kaixu.virtual_key (id, chain_id, customer_id, key_hash, key_last4, group_id, max_devices)
    select n, n, (n + 1) / 2, sha256(n::text::bytea), 'last', (n + 1) / 2, 5 from generate_series(1, 2 * {customers}) n;
    insert into kaixu.device (chain_id, install_id, customer_id)
    select n, 'd' || d, (n + 1) / 2 from generate_series(1, 2 * {customers}) n, generate_series(1, 2) d;
    insert into kaixu.customer_month (customer_id, month)
    select n, date_trunc('month', now() at time zone 'UTC') - m * interval '1 month'
      from generate_series(1, {customers}) n, generate_series(0, 3) m;
    insert into kaixu.key_month (chain_id, month, customer_id)
    select n, date_trunc('month', now() at time zone 'UTC') - m * interval '1 month', (n + 1) / 2
      from generate_series(1, 2 * {customers}) n, generate_series(0, 3) m;
    insert into kaixu.end_user_month (customer_id, month, end_user)
    select n, date_trunc('month', now() at time zone 'UTC'), 'u' || u from generate_series(1, {customers}) n, generate_series(1, 3) u;
    insert into kaixu.end_user_cap (customer_id, end_user, monthly_cap_nusd)
    select n, 'u1', 1000000000000 from generate_series(1, {customers}) n;
    insert into kaixu.app_month (customer_id, month, app_id, book)
    select n, date_trunc('month', now() at time zone 'UTC'), 'a' || a, 'ai' from generate_series(1, {customers}) n, generate_series(1, 3) a;
    insert into kaixu.rate_window (chain_id, customer_id, second_slot, second_counts, ten_minute_slot, ten_minute_counts)
    select n, (n + 1) / 2, 1, array_fill(0, array[61]), 1, array_fill(0, array[145]) from generate_series(1, 2 * {customers}) n;
    insert into kaixu.reservation (ticket, customer_id, key_id, chain_id, month, book, held_nusd, operation, provider, model,
                                   price_id, request_id, owner, expires_at, is_limited)
    select gen_random_uuid(), n, 2 * n, 2 * n, date_trunc('month', now() at time zone 'UTC'), 'ai', 0, 'chat', 'up', 'm', 1, 'r',
           gen_random_uuid(), now() + interval '10 minutes', true
      from generate_series(1, {customers}) n;
    insert into kaixu.usage_event (ticket, month, customer_id, key_id, chain_id, book, operation, provider, model, price_id,
                                   cost_nusd, usage_source, end_reason, request_id, admitted_at, rolled_up)
    select gen_random_uuid(), m.month, 1 + n % {customers}, 2 * (1 + n % {customers}),
           2 * (1 + n % {customers}), 'ai', 'chat', 'up', 'm', 1, 0, 'provider', 'complete', 'r', now(), true
      from generate_series(1, 2 * {customers}) n,
           (select date_trunc('month', now() at time zone 'UTC') + a * interval '1 month' as month from generate_series(0, 2) a
             union all select '2020-01-01') m;
    insert into kaixu.limit_use (customer_id, subject, day)
    select n, 'old:' || l, '2020-01-01' from generate_series(1, {customers}) n, generate_series(1, 2) l;
    insert into kaixu.topup (idempotency_key, customer_id, month, amount_nusd, source)
    select 't' || n, n, date_trunc('month', now() at time zone 'UTC'), 1, 'manual' from generate_series(1, {customers}) n;
    insert into kaixu.job (id, kind, customer_id, request_id, status, payload, most_attempts, completed_at)
    select gen_random_uuid(), 'chat', n, 'r', 'succeeded', '', 3, now() from generate_series(1, {customers}) n, generate_series(1, 5);
    insert into kaixu.response (customer_id, question, answer, expires_at)
    select n, sha256(q::text::bytea), '', now() + interval '1 hour' from generate_series(1, {customers}) n, generate_series(1, 3) q;
    insert into kaixu.collection (id, customer_id, name, provider, model, dimensions, language)
    overriding system value select n, n, 'notes', 'up', 'words', 3, 'english' from generate_series(1, {customers}) n;
    insert into kaixu.document (collection_id, doc_id, chunk, starts_at, customer_id, body, metadata, embedding, words)
    select n, 'd' || d, 0, 0, n, 'text', '{{}}', '[1,2,3]', '' from generate_series(1, {customers}) n, generate_series(1, 5) d;
    select setval(pg_get_serial_sequence('kaixu.' || t, 'id'), 10 * {customers})
      from unnest(array['customer', 'key_group', 'virtual_key', 'collection']) t;
    analyze;
"""


@pytest.fixture(params=["auto", "force_generic_plan"])
async def connection(dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with many customers, whose plans are made for each call, or once for all of them."""
    seeding = await asyncpg.connect(dsn)
    await seeding.execute(SEED.format(customers=CUSTOMERS))
    await seeding.close()
    connection = await asyncpg.connect(dsn, server_settings={"plan_cache_mode": request.param})
    await prepare_connection(connection)
    yield connection
    await connection.close()


def wrong(statement: str, scans: Iterable[Scan]) -> list[str]:
    """The scans that may touch rows of other customers."""
    return [
        f"{statement}: {scan.table} by {', '.join(scan.columns) or 'nothing'}"
        for scan in sorted(scans)
        if scan.table in HOT_TABLES
        and "customer_id" not in scan.columns
        and not any(identifier <= {*scan.columns} for identifier in IDENTIFIERS.get(scan.table, []))
        and scan not in ALLOWED.get(statement, {})
    ]


class Watched:
    """Collects what hot statements scan."""

    def __init__(self, plans: Plans) -> None:
        self.plans = plans
        self.wrong: list[str] = []
        self.scanned: dict[str, set[str]] = {}

    def note(self, statement: str) -> None:
        """What has run since the last time was this statement."""
        scans = self.plans.take()
        self.wrong += wrong(statement, scans)
        self.scanned.setdefault(statement, set()).update(scan.table for scan in scans)


async def test_calls_touch_rows_of_their_own_customers_only(connection: asyncpg.Connection) -> None:
    pool = cast(asyncpg.Pool, connection)
    async with plans_of(connection) as plans:
        watched = Watched(plans)
        await run_calls(pool, watched)
    assert watched.wrong == []
    # What is looked at is really there.
    assert {"customer", "virtual_key", "customer_month", "key_month", "rate_window", "device"} <= watched.scanned[
        "admit"
    ]
    assert {"customer", "reservation", "usage_event"} <= watched.scanned["settle late"]


def ask_of(key_id: int, end_user: str) -> Ask:
    """A call of a group."""
    return Ask(
        uuid4(), None, None, key_id, "d1", None, 0, "chat", "up", "up", "m", "ai", 1, 1000, 500, "r", "a1", "b", end_user, 100, 50
    )  # fmt: skip


def settlement_of(ask: Ask, verdict: Verdict) -> Settlement:
    """The settlement of an admitted call."""
    assert verdict.refused is None, verdict.refused
    assert verdict.customer_id is not None
    assert verdict.key_id is not None
    assert verdict.chain_id is not None
    return Settlement(
        ask.ticket, verdict.customer_id, verdict.key_id, verdict.chain_id, verdict.month, "ai", "chat", "up", "m", 1, "d1", "r",
        datetime.now(UTC), 1, "complete", "provider", 700, 350, 3, 4, 0, 0, 0, None, app_id="a1", end_user=ask.end_user,
    )  # fmt: skip


async def run_calls(pool: asyncpg.Pool, watched: Watched) -> None:
    """Calls with everything on: limits, groups of keys, end users, apps, devices, lost and late ones."""
    tags: dict[str, Any] = {"install_id": "new", "app_id": "a1", "build_id": "b", "end_user": "u1", "most_tokens": 100}
    ask, verdict = await admit(pool, 40, **tags)
    assert verdict.refused is None
    watched.note("first admission of a day")
    await pool.execute("discard plans")
    _, again = await admit(pool, 40, **tags)
    assert again.refused is None
    watched.note("admit")
    by_hash = await pool.fetchval("select key_hash from kaixu.virtual_key where id = 41")
    watched.plans.take()
    other, other_verdict = await admit(pool, None, key_hash=by_hash, legacy_hash=by_hash)
    watched.note("admit")
    await admission.locked_asks(pool, [ask, other])
    watched.note("locked asks")
    await admission.locked_customers(pool, [20, 21])
    watched.note("locked customers")
    await admission.renew(pool, [ask.ticket, other.ticket], owner=OWNER, lifetime_s=60)
    watched.note("renew")
    await settle(pool, ask, verdict, USED, cost=5)
    watched.note("settle")
    await settle(pool, other, other_verdict, USED, cost=2 * 10**9)  # more than was held
    watched.note("settle dearer")
    group = [ask_of(44, "u1"), ask_of(46, "u1")]
    verdicts = await admission.admit(pool, group, owner=OWNER, lifetime_s=60, default_rpm=1000)
    watched.note("first admission of a day")
    await pool.execute("discard plans")
    more = [ask_of(44, "u1"), ask_of(46, "u1")]
    verdicts += await admission.admit(pool, more, owner=OWNER, lifetime_s=60, default_rpm=1000)
    watched.note("admit a group")
    settlements = [settlement_of(*one) for one in zip(group + more, verdicts, strict=True)]
    await admission.settle(pool, settlements)
    watched.note("settle a group")
    late, late_verdict = await admit(pool, 50, **tags)
    watched.plans.take()
    await pool.execute(
        "update kaixu.reservation set expires_at = now() - interval '1 hour' where ticket = $1", late.ticket
    )
    watched.plans.take()
    await admission.EXPIRE.all(pool, True, 500)
    watched.note("expire")
    await settle(pool, late, late_verdict, USED, cost=7)
    watched.note("settle late")
    gone, gone_verdict = await admit(pool, 52)
    watched.plans.take()
    await admission.release(pool, [gone.ticket])
    watched.note("release")
    assert gone_verdict.customer_id is not None
    assert gone_verdict.key_id is not None
    assert gone_verdict.chain_id is not None
    hold = admission.Hold(
        gone.ticket, gone_verdict.customer_id, gone_verdict.key_id, gone_verdict.chain_id, gone_verdict.month, "ai", 5, "chat",
        "up", "m", 1, None, "r", end_user="u1",
    )  # fmt: skip
    await admission.reserve_again(pool, [hold], owner=OWNER, lifetime_s=60)
    watched.note("reserve again")


async def test_other_requests_touch_rows_of_their_own_customers_only(connection: asyncpg.Connection) -> None:
    pool = cast(asyncpg.Pool, connection)
    by_hash = await connection.fetchval("select key_hash from kaixu.virtual_key where id = 41")
    async with plans_of(connection) as plans:
        watched = Watched(plans)
        await readings.take_reading_rate(
            pool, key_hash=by_hash, legacy_hash=by_hash, key_id=None, units=1, per_minute=1000, default_rpm=1000
        )
        watched.note("take reading rate")
        await readings.owner_of(pool, key_hash=by_hash, legacy_hash=by_hash, key_id=41)
        watched.note("owner of a key")
        await operation_limits.take_operation_limits(
            pool,
            customer_id=20,
            operation="o.p",
            ticket=uuid4(),
            at_once=2,
            most=[5, 5],
            per_s=[60, 60],
            chain_ids=[0, 40],
        )
        watched.note("take operation limits")
        await operation_limits.key_owner(pool, 40)
        watched.note("key owner")
        await responses.find_response(pool, customer_id=20, request_hash=bytes(32))
        await responses.store_response(pool, customer_id=20, request_hash=bytes(32), answer=b"a", seconds=60)
        watched.note("cached answers")
        await collections.OF_KEY.all(pool, None, by_hash, by_hash, "notes")
        await collections.LISTED.all(pool, 40, "", 10)
        await collections.ALLOWED.all(pool, 40, "notes")
        await collections.CONTENT.all(pool, 20)
        watched.note("collections")
        await documents.ONE.all(pool, 20, "d1", 10)
        await documents.PAGE.all(pool, 20, "", 0, 10, 10**6)
        await documents.MORE.all(pool, 20, "", 0)
        await documents.CHUNKS.all(pool, 20, ["d1", "d2"])
        await documents.DELETED.all(pool, 20, 20, "d1")
        watched.note("documents")
        event = MonitorEvent(kind="call", level="info", request_id="r")
        await events.write_events(pool, [event])
        watched.note("monitor")
    assert watched.wrong == []
    assert {"collection", "virtual_key"} <= watched.scanned["collections"]


async def test_jobs_are_claimed_without_reading_ended_ones(connection: asyncpg.Connection) -> None:
    pool = cast(asyncpg.Pool, connection)
    new = jobs.NewJob(
        id=uuid4(), kind="chat", customer_id=20, key_id=40, install_id=None, request_id="r", payload=b"", idempotency_key="k"
    )  # fmt: skip
    async with plans_of(connection) as plans:
        watched = Watched(plans)
        await jobs.insert_job(pool, new)
        watched.note("insert job")
        [claimed] = await jobs.claim_jobs(pool, owner=uuid4(), kinds=["chat"], lease_s=60, most=5)
        watched.note("claim jobs")
        await jobs.heartbeat(pool, [claimed], lease_s=60)
        await jobs.set_ticket(pool, claimed, uuid4())
        await jobs.succeed(pool, claimed, result=b"", output_len=0, ticket=uuid4(), month=datetime.now(UTC).date())
        watched.note("running job")
    assert watched.wrong == []
    assert "job" in watched.scanned["claim jobs"]


async def test_the_check_sees_scans_of_all_customers(connection: asyncpg.Connection) -> None:
    async with plans_of(connection) as plans:
        await connection.fetch("select spent_nusd from kaixu.customer_month")
        await connection.fetch("select held_nusd from kaixu.key_month where month = $1", datetime.now(UTC).date())
        await connection.fetch("select customer_id from kaixu.usage_event where ticket = $1", uuid4())
        await connection.fetch("select email from kaixu.customer where id = any ($1::bigint[])", [1, 2])
        found = plans.take()
    assert {line.split(": ")[1].split(" by")[0] for line in wrong("x", found)} == {
        "customer_month",
        "key_month",
        "usage_event",
    }
    assert Scan("customer", ("id",)) in found


def test_every_statement_of_a_call_is_run_here() -> None:
    """A new statement in one of these modules has to be added above."""
    names = {
        admission: {
            "ADMIT",
            "ADMIT_ONE",
            "SETTLE",
            "SETTLE_ONE",
            "RENEW",
            "RESERVE_AGAIN",
            "RELEASE",
            "EXPIRE",
            "LOCKED_ASKS",
            "LOCKED_CUSTOMERS",
        },
        operation_limits: {"TAKE", "OWNER"},
        readings: {"TAKE", "OWNER"},
    }
    for module in HOT_MODULES:
        found = {name for name, value in vars(module).items() if isinstance(value, Query)}
        assert found == names[module], f"run the new statement of {module.__name__} in this file"


def test_every_module_of_statements_is_known_here() -> None:
    """A new module of the store is hot, or has its name among the others."""
    modules = {module.name for module in pkgutil.iter_modules(kaixu.store.__path__)}
    for name in modules:
        importlib.import_module(f"kaixu.store.{name}")
    hot = {module.__name__.rsplit(".", 1)[1] for module in HOT_MODULES}
    unknown = sorted(modules - hot - OTHER_MODULES)
    assert unknown == [], f"does a call run a statement of {unknown}? Then run it above; else enter the name"
    assert sorted(OTHER_MODULES - modules) == []
