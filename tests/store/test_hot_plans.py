"""What calls run touches rows of their own customers only: the plans of all hot statements, within functions too.

A plan is right if each scan of a table that would be spread by customer (schema/distribution.yaml), or of jobs, has an
index condition on customer_id, or on an identifier that belongs to one customer for ever. Statements in functions are
planned when they run, so each function runs here by all its usual ways. What calls run is found in the source: a
function of the store that they newly call, and a new statement of `HOT_MODULES`, has to be run here, or to be named
with a reason. Plans of searches that use vectors: tests/store/test_search.py. Transactions of integrations are not here.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest
import yaml

import kaixu
from kaixu.assets import asset
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.types import Usage
from kaixu.store import (
    admission,
    books,
    collections,
    customer_views,
    documents,
    events,
    integration_secrets,
    integration_settings,
    job_rows,
    jobs,
    operation_limits,
    plans,
    plugin_credits,
    readings,
    responses,
    search,
)  # fmt: skip
from kaixu.store.collections import Collection, collection_of_key
from kaixu.store.integration_secrets import SecretName
from kaixu.store.pool import prepare_connection
from kaixu.store.query import Query
from kaixu.store.vectors import packed
from tests.support.calls import OWNER, admit, asking, settle, settling
from tests.support.plans import Plans, Scan, plans_of
from tests.support.store_calls import store_calls

DISTRIBUTION: dict[str, Any] = yaml.safe_load((Path(str(asset("schema"))) / "distribution.yaml").read_text())
CHECKED_TABLES = {*DISTRIBUTION["distributed"], "job"}

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

#: Scans of other customers' rows that a statement may make: table, index ('': none), and why.
EXCEPTIONS: dict[str, dict[tuple[str, str], str]] = {
    "first call of a customer with a limit": {
        ("reservation", ""): "all calls in flight are looked through once, for those of a customer that has its first limit",
    },
    "expire": {
        ("reservation", ""): "one gateway for all looks through the calls in flight; an index by expiry would cost each renewal",
    },
    "claim jobs": {
        ("job", "job_queued_idx"): "the queue of all accounts, from account to account",
        ("job", "job_running_idx"): "jobs that run, few: for fairness, and those whose lease has ended",
        ("job", "job_latest_idx"): "waiting jobs from before the clock was set back, mostly none",
        ("job", "job_serial_idx"): "the line of a job with `serial`, which may be for several customers",
        ("job", "job_serial_running_idx"): "the same",
    },
}  # fmt: skip

#: The rooms, or files, that serve calls; and those in them that work in the background.
ROOMS = ("api", "catalog", "collections", "edge", "metering", "ops")
FILES = (
    "accounts/readings.py",
    "gateway/price_ids.py",
    *(f"jobs/{name}.py" for name in ("lease", "models", "queue", "worker")),
)
BACKGROUND = {"collections/keeper.py", "collections/reembedder.py", "metering/recovery.py", "metering/rollups.py"}

#: Modules of which every statement is run here, or named below.
HOT_MODULES = ("admission", "documents", "jobs", "operation_limits", "readings")

#: What calls name and this file does not run.
NOT_HOT = {
    "audit.write_audit": "one row is inserted",
    "callbacks.begin_callback": "logins at vendors, and local tables",
    "callbacks.take_callback": "the same",
    "cap_alerts.check_caps": "alerts, decided beside the call",
    "cap_alerts.check_noted_caps": "the same, in the background",
    "cap_alerts.note_refusals": "the same",
    "collections.delete": "rare; by the collection's id and its customer",
    "collections.rename": "the same",
    "collections.is_alive": "by the collection's id",
    "customer_effects.opened_secret": "integration_secrets.sealed_secret, which runs here",
    "customer_views.view_of_email": "by the address, which a directory would map to its customer",
    "integration_secrets.clear_secret": "a change of settings, by customer",
    "integration_secrets.put_secret": "the same",
    "integration_settings.customer_with": "the question is which customer has a value",
    "plugin_reading.job_seen": "by the job's id",
    "prices.price_version": "tables without customers",
    "prices.rates_version": "the same",
    "reactions.rearm_balance": "by customer, rare",
    "reembedding.end": "started and ended by hand, by the collection's id",
    "reembedding.progress": "the same",
    "reembedding.start": "the same",
    "settings_changes.change_settings": "a change of settings, by customer",
    "vendor_state.note_vendor_calls": "tables without customers",
    **{
        f"blob_rows.{name}": "uploads of integrations, on one server"
        for name in ("end_blobs", "find_blob", "note_stored", "renew_blobs", "reserve_blob")
    },
}  # fmt: skip

CUSTOMERS = 2000
#: Customers from here on have no limits beyond their caps, and no groups of keys.
PLAIN = 1000
USED = Usage(input_tokens=70, output_tokens=30)

MONTH = "date_trunc('month', now() at time zone 'UTC')"
#: A month of each partition of events.
ALL_MONTHS = f"{MONTH}, {MONTH} + interval '1 month', {MONTH} + interval '2 months', '2020-01-01'"

#: Rows of many customers in every table that calls touch; for the planner, a hundred times as many.
SEED = """
    insert into kaixu.customer (id, email, monthly_cap_nusd, tpm_limit, has_limits)
    overriding system value
    select n, 'c' || n || '@example.com', 1000000000000, case when n < {plain} then 1000000 end, n < {plain} - 100
      from generate_series(1, {customers}) n;
    insert into kaixu.key_group (id, customer_id, name, day_cap_nusd)
    overriding system value select n, n, 'team', 1000000000000 from generate_series(1, {customers}) n;
    insert into kaixu.virtual_key (id, chain_id, customer_id, key_hash, key_last4, group_id, max_devices)
    select n, n, (n + 1) / 2, sha256(n::text::bytea), 'last', case when (n + 1) / 2 < {plain} then (n + 1) / 2 end, 5
      from generate_series(1, 2 * {customers}) n;
    insert into kaixu.device (chain_id, install_id, customer_id)
    select n, 'd' || d, (n + 1) / 2 from generate_series(1, 2 * {customers}) n, generate_series(1, 2) d;
    insert into kaixu.customer_month (customer_id, month)
    select n, {month} - m * interval '1 month' from generate_series(1, {customers}) n, generate_series(0, 3) m;
    insert into kaixu.key_month (chain_id, month, customer_id)
    select n, {month} - m * interval '1 month', (n + 1) / 2
      from generate_series(1, 2 * {customers}) n, generate_series(0, 3) m;
    insert into kaixu.end_user_month (customer_id, month, end_user)
    select n, {month}, 'u' || u from generate_series(1, {customers}) n, generate_series(1, 3) u;
    insert into kaixu.end_user_cap (customer_id, end_user, monthly_cap_nusd)
    select n, 'u1', 1000000000000 from generate_series(1, {customers}) n;
    insert into kaixu.app_month (customer_id, month, app_id, book)
    select n, {month}, 'a' || a, 'ai' from generate_series(1, {customers}) n, generate_series(1, 3) a;
    insert into kaixu.rate_window (chain_id, customer_id, second_slot, second_counts, ten_minute_slot, ten_minute_counts)
    select n, (n + 1) / 2, 1, array_fill(0, array[61]), 1, array_fill(0, array[145])
      from generate_series(1, 2 * {customers}) n;
    insert into kaixu.reservation (ticket, customer_id, key_id, chain_id, month, book, held_nusd, operation, provider, model,
                                   price_id, request_id, owner, expires_at, is_limited, vectors)
    select gen_random_uuid(), n, 2 * n, 2 * n, {month}, 'ai', 0, 'chat', 'up', 'm', 1, 'r',
           gen_random_uuid(), now() + interval '10 minutes', n < {plain} - 100, n % 2
      from generate_series(1, {customers}) n;
    insert into kaixu.operation_call (ticket, customer_id, operation)
    select r.ticket, r.customer_id, 'o.p' from kaixu.reservation r;
    insert into kaixu.usage_event (ticket, month, customer_id, key_id, chain_id, book, operation, provider, model, price_id,
                                   cost_nusd, usage_source, end_reason, request_id, admitted_at, rolled_up)
    select gen_random_uuid(), m.month, 1 + n % {customers}, 2 * (1 + n % {customers}), 2 * (1 + n % {customers}), 'ai', 'chat',
           'up', 'm', 1, 0, 'provider', 'complete', 'r', now(), true
      from generate_series(1, 2 * {customers}) n, unnest(array[{months}]::date[]) m (month);
    insert into kaixu.limit_use (customer_id, subject, day)
    select n, 'old:' || l, '2020-01-01' from generate_series(1, {customers}) n, generate_series(1, 2) l;
    insert into kaixu.topup (idempotency_key, customer_id, month, amount_nusd, source)
    select 't' || n, n, {month}, 1, 'manual' from generate_series(1, {customers}) n;
    insert into kaixu.job (id, kind, customer_id, request_id, status, payload, most_attempts, completed_at, run_after,
                           unique_key, claim, leased_until, heartbeat_at)
    select gen_random_uuid(), 'other', n, 'r', case j when 1 then 'queued' when 2 then 'running' else 'succeeded' end, '', 3,
           case when j > 2 then now() end, now() + interval '1 hour', 'u' || j, case when j = 2 then gen_random_uuid() end,
           case when j = 2 then now() + interval '1 hour' end, now()
      from generate_series(1, {customers}) n, generate_series(1, 5) j;
    insert into kaixu.response (customer_id, question, answer, expires_at)
    select n, sha256(q::text::bytea), '', now() + interval '1 hour'
      from generate_series(1, {customers}) n, generate_series(1, 3) q;
    insert into kaixu.collection (id, customer_id, name, provider, model, dimensions, language, vectors)
    overriding system value select n, n, 'notes', 'up', 'words', 3, 'english', 5 from generate_series(1, {customers}) n;
    insert into kaixu.document (collection_id, doc_id, chunk, starts_at, customer_id, body, metadata, embedding, words)
    select n, 'd' || d, 0, 0, n, 'text', '{{}}', '[1,2,3]', '' from generate_series(1, {customers}) n, generate_series(1, 5) d;
    insert into kaixu.reembedding (customer_id, key_id, collection_id, copy_id, state, total, request_id)
    select n, 2 * n, n, {customers} + n, 'done', 5, 'r' from generate_series(1, {customers}) n;
    insert into kaixu.operation_window (operation, per_s, chain_id, customer_id, slot, counts)
    select 'o.p', s, 0, n, 1, array_fill(0, array[61]) from generate_series(1, {customers}) n, unnest(array[1, 60]) s;
    insert into kaixu.reading_window (chain_id, customer_id, second_slot, second_counts)
    select n, (n + 1) / 2, 1, array_fill(0, array[61]) from generate_series(1, 2 * {customers}) n;
    insert into kaixu.book_month (customer_id, month, book, version)
    select n, {month}, 'b', 'default' from generate_series(1, {customers}) n;
    insert into kaixu.integration_secret (customer_id, integration, name, sealed, set_by)
    select n, 'sample', 'token', '', 'x' from generate_series(1, {customers}) n;
    insert into kaixu.integration_setting (customer_id, integration, settings)
    select n, 'sample', '{{}}' from generate_series(1, {customers}) n;
    insert into kaixu.keyed_charge (ticket, integration, customer_id, charge, key, key_id, chain_id, book, state, month, units,
                                    held_nusd, price_id, expires_at)
    select gen_random_uuid(), 'sample', n, 'c', 'k', 2 * n, 2 * n, 'b', 'charged', {month}, 1, 0, 1, now()
      from generate_series(1, {customers}) n;
    select setval(pg_get_serial_sequence('kaixu.' || t, 'id'), 10 * {customers})
      from unnest(array['customer', 'key_group', 'virtual_key', 'collection']) t;
    analyze;
    update pg_class set reltuples = reltuples * 100
     where relnamespace = 'kaixu'::regnamespace and relkind in ('r', 'i') and reltuples > 0;
"""  # fmt: skip


class OneConnection:
    """A pool of one connection, which is not reset when it is returned."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        yield self.connection


async def seed(dsn: str, *, months: str = ALL_MONTHS) -> None:
    """Fill a database with many customers, and with events of these months."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(SEED.format(customers=CUSTOMERS, plain=PLAIN, month=MONTH, months=months))
    await connection.close()


@asynccontextmanager
async def watching(dsn: str, plan_cache_mode: str) -> AsyncIterator[Plans]:
    """A connection whose plans are read."""
    connection = await asyncpg.connect(dsn, server_settings={"plan_cache_mode": plan_cache_mode})
    await prepare_connection(connection)
    async with plans_of(connection) as found:
        yield found
    await connection.close()


def wrong(statement: str, scans: Iterable[Scan]) -> list[str]:
    """The scans that may touch rows of other customers."""
    return [
        f"{statement}: {scan.table} by {', '.join(scan.columns) or 'nothing'} ({scan.index or 'the whole table'})"
        for scan in sorted(scans)
        if scan.table in CHECKED_TABLES
        and "customer_id" not in scan.columns
        and not any(identifier <= {*scan.columns} for identifier in IDENTIFIERS.get(scan.table, []))
        and (scan.table, scan.index) not in EXCEPTIONS.get(statement, {})
    ]


class Watched:
    """Collects what hot statements scan."""

    def __init__(self, found: Plans) -> None:
        self.plans = found
        self.wrong: list[str] = []
        self.scans: dict[str, set[Scan]] = {}

    def note(self, statement: str) -> None:
        """What has run since the last time was this statement."""
        scans = self.plans.take()
        self.wrong += wrong(statement, scans)
        self.scans.setdefault(statement, set()).update(scans)

    def tables(self, statement: str) -> set[str]:
        """The tables that a statement was seen to scan."""
        return {scan.table for scan in self.scans[statement]}


@pytest.mark.parametrize("plan_cache_mode", ["auto", "force_generic_plan"])
async def test_calls_touch_rows_of_their_own_customers_only(dsn: str, plan_cache_mode: str) -> None:
    await seed(dsn)
    async with watching(dsn, plan_cache_mode) as found:
        watched = Watched(found)
        pool = cast(asyncpg.Pool, OneConnection(found.connection))
        await run_calls(pool, watched)
        await run_requests(pool, watched)
        await run_collections(pool, watched)
        await run_jobs(pool, watched)
    assert not watched.wrong, "\n".join(sorted(set(watched.wrong)))
    # What is looked at is really there.
    admits = {
        "customer",
        "virtual_key",
        "customer_month",
        "key_month",
        "rate_window",
        "device",
        "limit_use",
        "reservation",
    }
    assert admits <= watched.tables("admit")
    assert {"customer", "virtual_key", "customer_month", "key_month", "rate_window"} <= watched.tables("admit one")
    assert {"customer", "reservation", "usage_event", "customer_month", "key_month"} <= watched.tables("settle one")
    assert {"customer", "reservation", "usage_event", "limit_use"} <= watched.tables("settle late")
    assert {"collection", "virtual_key"} <= watched.tables("collections")
    assert "job" in watched.tables("claim jobs")
    unrun = [
        f"{module}.{name}"
        for module in HOT_MODULES
        for name, value in vars(importlib.import_module(f"kaixu.store.{module}")).items()
        if isinstance(value, Query) and value.sql not in found.statements
    ]
    assert unrun == [], "run these statements in this file"


async def test_plans_from_before_a_month_has_events_do_not_read_all_that_come(dsn: str) -> None:
    """Plans of admission and settlement are kept: one that was made for an empty partition is used when it has filled.

    Until the partition is analyzed, that is; autovacuum does that about a minute after its first events. For as long, the
    sum of a day that begins, once for each limit, may read the events of all customers since the day began.
    """
    await seed(dsn, months=MONTH)
    async with watching(dsn, "auto") as found:
        watched = Watched(found)
        await run_calls(cast(asyncpg.Pool, OneConnection(found.connection)), watched)
    kept = [
        line
        for line in watched.wrong
        if line.startswith(("admit", "settle", "first call")) and "usage_event by created_at" not in line
    ]
    assert not kept, "\n".join(sorted(set(kept)))
    assert "usage_event" in watched.tables("settle")


async def run_calls(pool: asyncpg.Pool, watched: Watched) -> None:
    """Calls with everything on, and plain ones: limits, groups of keys, end users, apps, devices, lost and late ones."""
    tags: dict[str, Any] = {"install_id": "new", "app_id": "a1", "build_id": "b", "end_user": "u1", "most_tokens": 100}

    # Plain calls: functions for one.
    plain = 2 * PLAIN + 40
    by_hash = await pool.fetchval("select key_hash from kaixu.virtual_key where id = $1", plain + 2)
    watched.plans.take()
    ask, verdict = await admit(pool, plain, install_id="d1", app_id="a1")
    other, other_verdict = await admit(pool, None, key_hash=by_hash, legacy_hash=by_hash)
    watched.note("admit one")
    await settle(pool, ask, verdict, USED, cost=5)
    watched.note("settle one")
    await settle(pool, other, other_verdict, USED, cost=2 * 10**9)
    watched.note("settle dearer than was held")

    # With limits: the functions for groups.
    await admit(pool, 2 * (PLAIN - 50), **tags)
    watched.note("first call of a customer with a limit")
    await pool.execute("discard plans")
    ask, verdict = await admit(pool, 40, **tags)
    by_hash = await pool.fetchval("select key_hash from kaixu.virtual_key where id = 42")
    other, other_verdict = await admit(pool, None, key_hash=by_hash, legacy_hash=by_hash, most=1000)
    watched.note("admit")
    await admission.locked_asks(pool, [ask, other])
    watched.note("locked asks")
    await admission.locked_customers(pool, [20, 21])
    watched.note("locked customers")
    await admission.renew(pool, [ask.ticket, other.ticket], owner=OWNER, lifetime_s=60)
    watched.note("renew")
    await settle(pool, ask, verdict, USED, cost=5)
    watched.note("settle")
    await settle(pool, other, other_verdict, USED, cost=2000)
    watched.note("settle dearer than was held, with limits")

    asks = [asking(key_id, install_id="d1", end_user="u1", app_id="a1") for key_id in (44, 46, plain, plain + 1)]
    verdicts = await admission.admit(pool, asks, owner=OWNER, lifetime_s=60, default_rpm=1000)
    assert [one.refused for one in verdicts] == [None] * 4
    watched.note("admit a group")
    ended = [settling(*one, USED, cost=7) for one in zip(asks, verdicts, strict=True)]
    await admission.settle(pool, ended)
    watched.note("settle a group")

    late, late_verdict = await admit(pool, 50, **tags)
    await pool.execute(
        "update kaixu.reservation set expires_at = now() - interval '1 hour' where ticket = $1", late.ticket
    )
    watched.plans.take()
    await pool.execute("discard plans")
    assert [lost.ticket for lost in await admission.expire(pool, charge=True)] == [late.ticket]
    watched.note("expire")
    await pool.execute("discard plans")
    await settle(pool, late, late_verdict, USED, cost=7)
    watched.note("settle late")

    for key_id in (52, plain):
        ask, verdict = await admit(pool, key_id, end_user="u1")
        watched.plans.take()
        assert await admission.release(pool, [ask.ticket]) == 1
        watched.note("release")
        assert verdict.customer_id is not None
        assert verdict.key_id is not None
        assert verdict.chain_id is not None
        hold = admission.Hold(
            ask.ticket, verdict.customer_id, verdict.key_id, verdict.chain_id, verdict.month, "ai", 5, "chat", "up", "m", 1,
            None, "r", end_user="u1",
        )  # fmt: skip
        assert await admission.reserve_again(pool, [hold], owner=OWNER, lifetime_s=60) == 1
        watched.note("reserve again")


async def run_requests(pool: asyncpg.Pool, watched: Watched) -> None:
    """What else a request asks or writes."""
    by_hash = await pool.fetchval("select key_hash from kaixu.virtual_key where id = 41")
    watched.plans.take()
    await readings.take_reading_rate(
        pool, key_hash=by_hash, legacy_hash=by_hash, key_id=None, units=1, per_minute=1000, default_rpm=1000
    )
    watched.note("take reading rate")
    assert await readings.owner_of(pool, key_hash=by_hash, legacy_hash=by_hash, key_id=None) == 21
    watched.note("owner of a key")
    await plans.factors(pool, [(40, None, None), (None, by_hash, by_hash)])
    watched.note("price factors")
    await plans.has_factors(pool)
    watched.plans.take()  # once a while, by each gateway: is there any customer with one?
    limits: dict[str, Any] = {"at_once": 2, "most": [5, 5], "per_s": [60, 60], "chain_ids": [0, 40]}
    await operation_limits.take_operation_limits(pool, customer_id=20, operation="o.p", ticket=uuid4(), **limits)
    watched.note("take operation limits")
    await operation_limits.key_owner(pool, 40)
    watched.note("key owner")
    await responses.find_response(pool, customer_id=20, request_hash=bytes(32))
    await responses.store_response(pool, customer_id=20, request_hash=bytes(32), answer=b"a", seconds=60)
    watched.note("cached answers")
    await customer_views.view_of_customer(pool, 20)
    await books.book_month(pool, 20, "ai", None)
    await plugin_credits.balance_of(pool, 20)
    await integration_secrets.secrets_of_customer(pool, 20)
    await integration_secrets.sealed_secret(pool, SecretName(20, "sample", "token"))
    await integration_settings.stored_settings(pool, 20, "sample")
    watched.note("what integrations ask")
    await events.write_events(pool, [MonitorEvent(kind="call", level="info", request_id="r")])
    watched.note("monitor")


async def run_collections(pool: asyncpg.Pool, watched: Watched) -> None:
    """Storing, reading and searching texts."""
    by_hash = await pool.fetchval("select key_hash from kaixu.virtual_key where id = 41")
    ask, _ = await admit(pool, 40)
    watched.plans.take()
    collection = await collection_of_key(pool, key_id=None, key_hash=by_hash, legacy_hash=by_hash, name="notes")
    assert isinstance(collection, Collection)
    await collections.collections_of_key(pool, 40, after="", limit=10)
    await collections.is_allowed(pool, 40, "notes")
    await collections.content_of(pool, 20)
    watched.note("collections")
    for name, make, most in (("notes", False, 10**6), ("notes", True, 5), ("new", True, 10**6)):
        await collections.open_collection(
            pool, ticket=ask.ticket, customer_id=20, key_id=40, name=name, provider="up", model="words", dimensions=3,
            language="english", vectors=1, doc_ids=["d9"], make=make, most_vectors=most, most_collections=10,
        )  # fmt: skip
    watched.note("open a collection")
    for ticket in (ask.ticket, uuid4()):  # with its reservation, and without
        stored = await documents.store_documents(
            pool, collection_id=20, customer_id=20, ticket=ticket, pieces=[documents.Piece("d9", 0, 0, "text", {})],
            vectors=[packed([1.0, 2.0, 3.0])], most_vectors=10**6,
        )  # fmt: skip
        assert stored.refused is None
    watched.note("store documents")
    await documents.document(pool, 20, "d1", most_chunks=10)
    await documents.page(pool, 20, after=("", 0), limit=10, most_bytes=10**6)
    await documents.page_with_vectors(pool, 20, after=("", 0), limit=10, most_bytes=10**6)
    await documents.is_more(pool, 20, after=("", 0))
    await documents.chunks_of(pool, 20, ["d1", "d2"])
    watched.note("read documents")
    await documents.delete_document(pool, 20, 20, "d1")
    watched.note("delete a document")
    async with pool.acquire() as connection:
        db: Any = connection
        assert await search.nearest(db, collection, packed([1.0, 2.0, 3.0]), limit=3)
        await search.with_words(db, collection, packed([1.0, 2.0, 3.0]), "text", limit=3)
    watched.note("search")


async def run_jobs(pool: asyncpg.Pool, watched: Watched) -> None:
    """Jobs from submission to end."""
    for at, unique in enumerate((None, "v")):
        new = jobs.NewJob(
            id=uuid4(), kind="chat", customer_id=20 + at, key_id=40 + 2 * at, install_id=None, request_id="r", payload=b"",
            idempotency_key="k", unique_key=unique, serial=unique, at_once=1, provider="up",
        )  # fmt: skip
        await job_rows.count_queued(pool, 20, 10)
        await jobs.insert_job(pool, new)
        watched.note("insert job")
        assert await jobs.insert_job(pool, new) == new.id
        await job_rows.find_job(pool, new.id, customer_id=new.customer_id)
        watched.note("find job")
        [claimed] = await jobs.claim_jobs(pool, owner=uuid4(), kinds=["chat"], lease_s=60, most=5)
        watched.note("claim jobs")
        assert await jobs.heartbeat(pool, [claimed], lease_s=60)
        await jobs.set_ticket(pool, claimed, uuid4())
        await jobs.set_progress(pool, claimed, 1, 2)
        watched.note("running job")
        if at == 0:
            assert await jobs.succeed(
                pool, claimed, result=b"", output_len=0, ticket=uuid4(), month=datetime.now(UTC).date()
            )
        else:
            assert await jobs.requeue(pool, claimed, wait_s=0, is_failure=False)
            [claimed] = await jobs.claim_jobs(pool, owner=uuid4(), kinds=["chat"], lease_s=60, most=5)
            watched.note("claim jobs")
            assert await jobs.end(pool, claimed, "failed")
        await job_rows.cancel_job(pool, new.id, customer_id=new.customer_id)
        watched.note("end job")


async def test_the_check_sees_scans_of_all_customers(dsn: str) -> None:
    async with watching(dsn, "auto") as found:
        db = found.connection
        await db.execute("set enable_seqscan = off")
        await db.fetch("select spent_nusd from kaixu.customer_month where calls = 1")
        await db.fetch("select held_nusd from kaixu.key_month where month = $1", datetime.now(UTC).date())
        await db.fetch("select customer_id from kaixu.usage_event where ticket = $1", uuid4())
        await db.fetch("select count(*) from kaixu.device where last_seen_at > $1", datetime.now(UTC) + timedelta(1))
        await db.execute("do $$ begin perform 1 from kaixu.rate_window w where w.second_slot = 2; end $$")
        await db.fetch("select email from kaixu.customer where id = any ($1::bigint[])", [1, 2])
        scans = found.take()
    tables = {line.split(": ")[1].split(" by")[0] for line in wrong("x", scans)}
    assert tables == {"customer_month", "key_month", "usage_event", "device", "rate_window"}
    assert ("customer", ("id",)) in {(scan.table, scan.columns) for scan in scans}


def test_what_calls_newly_ask_of_the_store_is_run_here() -> None:
    """What serves calls names no function of the store that is neither run in this file nor named with a reason."""
    root = Path(str(kaixu.__file__)).parent
    files = [root / name for name in FILES] + [file for room in ROOMS for file in (root / room).rglob("*.py")]
    called = store_calls(file for file in files if file.relative_to(root).as_posix() not in BACKGROUND)
    run = store_calls([Path(__file__)])
    assert sorted(called - run - {*NOT_HOT}) == [], "run them in this file, or say in NOT_HOT why not"
    assert sorted({*NOT_HOT} - called) == [], "no call asks for them any more"
    assert sorted({*NOT_HOT} & run) == []
