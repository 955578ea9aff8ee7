"""Panels are loaded through the gate: they read their own, change nothing, and end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import pytest
from msgspec.structs import replace

from kaixu.catalog.catalog import IntegrationState
from kaixu.config.sections import IntegrationSection
from kaixu.edge.services import Services
from kaixu.metering.panels import AT_ONCE, PanelLoads
from kaixu.plugin import panels
from kaixu.plugin.access import Caller
from kaixu.plugin.book import Book
from kaixu.plugin.errors import (
    DatabaseBusy,
    HostNotDeclared,
    KaixuError,
    NotFound,
    TicketClosed,
    UpstreamError,
    UpstreamTimeout,
)
from kaixu.plugin.operation import Integration
from kaixu.plugin.options import Options
from kaixu.plugin.panel import Panel, PanelView
from kaixu.plugin.secret import Secret
from kaixu.store.plugin_transaction import NotAllowed
from tests.api.admin.conftest import services as services  # a fixture
from tests.metering.test_customer_data import data_of
from tests.support.money import customer

#: Of nothing; the same in every process that collects the tests.
NO_ID = "00000000-0000-4000-8000-000000000000"

NAME = "shop"
TOKEN = "shop-token-0123456789"
TABLES = "create table note (id bigint generated always as identity primary key, customer_id bigint, words text);"
OPERATOR = Caller("operator", "viewer", email="v@example.com")


class ShopCustomer(msgspec.Struct):
    colour: str = "red"


class Shop:
    """An integration with panels on a real database; `sent` is what its vendor got."""

    def __init__(self, services: Services, pool: asyncpg.Pool) -> None:
        self.services = services
        self.pool = pool
        self.loads = PanelLoads()
        self.sent: list[httpx.Request] = []
        self.seen: list[Any] = []
        self.declared = Integration(
            NAME,
            [],
            schema="schema",
            hosts=["api.example.com"],
            secrets=[Secret("token", "Token")],
            customer=ShopCustomer,
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The vendor's answer: what it was sent."""
        self.sent.append(request)
        return httpx.Response(200, json={"authorization": request.headers.get("authorization")})

    async def load(
        self,
        load: Callable[[PanelView], Awaitable[Sequence[panels.Part]]],
        customer_id: int | None = None,
        timeout_s: float = 5,
        declared: Integration | None = None,
    ) -> list[Any]:
        """The parts of a panel."""
        state = IntegrationState(
            NAME, IntegrationSection(), "on", None, declared or self.declared, Options(), {}, where="shop.py"
        )
        parts, _ = await self.loads.load(
            self.services.gate,
            state,
            Panel("Shop", "Things", load, timeout_s=timeout_s),
            customer_id=customer_id,
            caller=OPERATOR,
            month="2026-11",
            filters={"q": "x"},
            request_id="r1",
        )
        return list(parts)

    async def try_in(self, what: Callable[[PanelView], Awaitable[Any]], customer_id: int | None = None) -> Any:
        """What a load that tries something gets: its result, or the exception."""

        async def load(view: PanelView) -> Sequence[panels.Part]:
            try:
                self.seen.append(await what(view))
            except Exception as error:
                self.seen.append(error)
            return []

        await self.load(load, customer_id)
        return self.seen.pop()


@pytest.fixture
async def shop(services: Services, pool: asyncpg.Pool, tmp_path: Path) -> Any:
    """The integration, with two notes of two customers."""
    made = Shop(services, pool)
    gate = services.gate
    gate.databases.pool = pool
    gate.transport = gate.public_transport = httpx.MockTransport(made.answer)
    folder = tmp_path / "schema"
    folder.mkdir()
    (folder / "0001_notes.sql").write_text(TABLES)
    async with pool.acquire() as connection:
        await gate.databases.provide(connection, NAME, folder, None)
    await pool.execute("insert into kaixu_shop.note (customer_id, words) values (1, 'one'), (2, 'two')")
    yield made
    await gate.databases.close()


async def test_a_view_has_what_the_page_shows_and_reads_the_plugins_tables(shop: Shop) -> None:
    customer_id = await customer(shop.pool)

    async def load(view: PanelView) -> Sequence[panels.Part]:
        async with view.db() as db:
            rows = await db.fetch("select words from note order by id")
            first = await db.fetchrow("select words from note where customer_id = $1", 2)
            count = await db.fetchval("select count(*) from note")
        told = await view.settings()
        return [
            panels.Stat(", ".join(row["words"] for row in rows), count),
            panels.Stat(first["words"] if first else "", told.colour),
            panels.Stat(view.month, view.filters["q"]),
            panels.Stat(view.caller.kind, view.customer_id),
            panels.Stat("token", await view.secrets.info("token") is not None),
            panels.Stat("thread", await view.in_thread(lambda: 7)),
        ]

    assert await shop.load(load, customer_id) == [
        panels.Stat("one, two", 2),
        panels.Stat("two", "red"),
        panels.Stat("2026-11", "x"),
        panels.Stat("operator", customer_id),
        panels.Stat("token", False),
        panels.Stat("thread", 7),
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "insert into note (words) values ('new') returning id",
        "update note set words = 'new' returning id",
        "delete from note returning id",
        "with gone as (delete from note returning id) select * from gone",
        "truncate note",
        "select nextval(pg_get_serial_sequence('note', 'id'))",
        "select setval(pg_get_serial_sequence('note', 'id'), 99)",
        "select * from note for update",
        f"select kaixu__plugin.enqueue(p_job => '{NO_ID}')",
        f"select kaixu__plugin.cancel_job(p_access => '{NO_ID}')",
        f"select kaixu__plugin.failure_handled(p_job_id => '{NO_ID}')",
        "select set_config('transaction_read_only', 'off', true)",
        "set transaction read write",
        "commit",
        "create table other (id int)",
        "copy note to '/tmp/x'",
    ],
)
async def test_no_statement_changes_anything(shop: Shop, sql: str) -> None:
    async def change(view: PanelView) -> object:
        async with view.db() as db:
            return await db.fetch(sql)

    assert isinstance(await shop.try_in(change), NotAllowed | asyncpg.PostgresError)
    rows = await shop.pool.fetch("select words from kaixu_shop.note order by id")
    assert [row["words"] for row in rows] == ["one", "two"]


@pytest.mark.parametrize(
    "sql",
    ["select * from kaixu.customer", "select * from kaixu.virtual_key", "select * from kaixu.integration_secret",
     "select kaixu.cancel_job(p_job_id => null, p_integration => null, p_customer_id => null)",
     "select pg_read_file('/etc/passwd')", "select * from pg_authid"],
)  # fmt: skip
async def test_no_table_of_the_gateway_is_read(shop: Shop, sql: str) -> None:
    async def read(view: PanelView) -> object:
        async with view.db() as db:
            return await db.fetch(sql)

    assert isinstance(await shop.try_in(read), NotAllowed | asyncpg.PostgresError)


async def test_only_reading_requests_go_only_to_declared_hosts(shop: Shop) -> None:
    async def send(view: PanelView, method: str, url: str, **more: Any) -> object:
        async with view.wire.send(httpx.Request(method, url), **more) as answer:
            return await answer.aread()

    assert isinstance(await shop.try_in(lambda v: send(v, "POST", "https://api.example.com/")), ValueError)
    assert isinstance(await shop.try_in(lambda v: send(v, "DELETE", "https://api.example.com/")), ValueError)
    for url in (
        "https://evil.example/",
        "http://api.example.com/",
        "https://api.example.com:8443/",
        "http://127.0.0.1/",
    ):
        assert isinstance(await shop.try_in(lambda v, url=url: send(v, "GET", url)), HostNotDeclared)  # type: ignore[misc]
    assert shop.sent == []
    assert await shop.try_in(lambda v: send(v, "GET", "https://api.example.com/")) == b'{"authorization":null}'

    async def blocking(view: PanelView) -> object:
        return await view.in_thread(lambda: view.wire.blocking().send(httpx.Request("GET", "https://api.example.com/")))

    assert (await shop.try_in(blocking)).status_code == 200


async def test_a_secret_is_sent_to_declared_hosts_and_not_told(shop: Shop) -> None:
    one, other = await customer(shop.pool), await customer(shop.pool)
    await data_of(shop.pool, one, sealer=shop.services.gate.sealer, integration=shop.declared).put("token", TOKEN)

    async def send(view: PanelView, url: str, name: str = "token") -> object:
        async with view.wire.send(httpx.Request("GET", url), secret=name) as answer:
            return await answer.aread()

    url = "https://api.example.com/"
    assert await shop.try_in(lambda view: send(view, url), one) == f'{{"authorization":"Bearer {TOKEN}"}}'.encode()
    assert isinstance(await shop.try_in(lambda view: send(view, url), other), NotFound)
    assert isinstance(await shop.try_in(lambda view: send(view, url)), ValueError)  # no customer
    assert isinstance(await shop.try_in(lambda view: send(view, url, "password"), one), ValueError)
    before = len(shop.sent)
    assert isinstance(await shop.try_in(lambda view: send(view, "https://evil.example/"), one), HostNotDeclared)
    assert len(shop.sent) == before

    async def fail(view: PanelView) -> Sequence[panels.Part]:
        raise NotFound(f"no repository for {(await send(view, url))!r}")

    with pytest.raises(NotFound) as told:
        await shop.load(fail, one)
    assert TOKEN not in str(told.value)
    assert not hasattr((await shop.try_in(lambda view: view_of(view), one)).secrets, "get")


async def view_of(view: PanelView) -> PanelView:
    """The view itself."""
    return view


async def test_a_view_reads_the_months_of_the_integrations_books(shop: Shop) -> None:
    one, other = await customer(shop.pool), await customer(shop.pool)
    for month, spent in (("2026-10-01", 7), ("2026-11-01", 5)):
        await shop.pool.execute(
            "insert into kaixu.customer_month (customer_id, month, book, spent_nusd) values ($1, $2, 'shop', $3)",
            one,
            date.fromisoformat(month),
            spent,
        )
    shop.declared = replace(shop.declared, books=[Book("shop")])
    shown = await shop.try_in(lambda view: view.book("shop"), one)  # of the month that the page shows
    assert (shown.month, shown.spent_nusd) == (date(2026, 11, 1), 5)
    assert (await shop.try_in(lambda view: view.book("shop", date(2026, 10, 9)), one)).spent_nusd == 7
    assert (await shop.try_in(lambda view: view.book("shop"), other)).spent_nusd == 0
    assert isinstance(await shop.try_in(lambda view: view.book("push"), one), ValueError)
    assert isinstance(await shop.try_in(lambda view: view.book("shop")), ValueError)  # no customer


async def test_nothing_works_after_the_load(shop: Shop) -> None:
    customer_id = await customer(shop.pool)
    view: PanelView = await shop.try_in(view_of, customer_id)

    async def read() -> None:
        async with view.db() as db:
            await db.fetch("select 1")

    async def send() -> None:
        async with view.wire.send(httpx.Request("GET", "https://api.example.com/")):
            pass

    for late in (read(), send(), view.settings(), view.secrets.info("token"), view.job(uuid4()), view.in_thread(int)):
        with pytest.raises(TicketClosed):
            await late
    assert shop.sent == []


async def test_what_fails_says_so_without_detail(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(view: PanelView) -> Sequence[panels.Part]:
        raise RuntimeError("a detail")

    async def nothing(view: PanelView) -> Any:
        return None

    for load in (fail, nothing):
        with pytest.raises(UpstreamError) as told:
            await shop.load(load)
        assert (told.value.code, "detail" in str(told.value)) == ("INTEGRATION_FAILED", False)
    assert "a detail" in caplog.text


async def test_a_load_that_takes_too_long_ends(shop: Shop) -> None:
    ended = asyncio.Event()

    async def sleep(view: PanelView) -> Sequence[panels.Part]:
        try:
            async with view.db() as db:
                await db.fetch("select pg_sleep(60)")
        finally:
            ended.set()
        return []

    with pytest.raises(UpstreamTimeout):
        await shop.load(sleep, timeout_s=0.1)
    assert ended.is_set()


async def test_a_load_that_does_not_let_itself_be_ended_keeps_its_place(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaixu.metering.panels.GRACE_S", 0.05)
    monkeypatch.setattr("kaixu.metering.panels.WAIT_S", 0.05)
    over = asyncio.Event()
    later: list[object] = []

    async def stubborn(view: PanelView) -> Sequence[panels.Part]:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue
        try:
            view.db()
        except TicketClosed as error:
            later.append(error)
        return []

    async def quick(view: PanelView) -> Sequence[panels.Part]:
        return []

    for _ in range(AT_ONCE):
        with pytest.raises(UpstreamTimeout):
            await shop.load(stubborn, timeout_s=0.05)
    with pytest.raises(DatabaseBusy):
        await shop.load(quick)
    over.set()
    await asyncio.wait(shop.loads._running)
    assert len(later) == AT_ONCE
    assert await shop.load(quick) == []


async def test_a_page_that_is_closed_ends_the_load(shop: Shop) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait(view: PanelView) -> Sequence[panels.Part]:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return []

    page = asyncio.ensure_future(shop.load(wait))
    await began.wait()
    page.cancel()
    with pytest.raises(asyncio.CancelledError):
        await page
    await ended.wait()


async def test_without_tables_there_is_no_database(shop: Shop) -> None:
    async def read(view: PanelView) -> Sequence[panels.Part]:
        async with view.db():
            return []

    with pytest.raises(KaixuError):
        await shop.load(read, declared=msgspec.structs.replace(shop.declared, schema=None))
