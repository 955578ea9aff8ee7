"""Panels without a gateway: `load_panel` gives `load` what a page gives it, and refuses what a page cannot show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from kaixu.plugin import (
    Balance,
    Book,
    BookLine,
    BookMonth,
    Call,
    Caller,
    Free,
    HostNotDeclared,
    Integration,
    JobView,
    Key,
    NotFound,
    Operation,
    Operator,
    Panel,
    PanelView,
    Secret,
    TicketClosed,
    panels,
)
from kaixu.plugin.testing import FakeView, FakeWire, json_answer, load_panel

FREE = Free("a test")
JOB = UUID("00000000-0000-4000-8000-000000000001")
OCTOBER = BookMonth("shop", date(2026, 10, 1), "default", None, 50, 0, 0, [BookLine("a", 1, 1, 50)])
BALANCE = Balance("2026-10", 1, 2, 3, 4, 5, 6, 7, 8)


class ShopCustomer(msgspec.Struct):
    colour: str = "red"


class Nothing(msgspec.Struct):
    pass


async def nothing(call: Call[Nothing]) -> Nothing:
    return Nothing()


def shop(load: Callable[[PanelView], Awaitable[Sequence[Any]]], **panel: Any) -> Integration:
    """An integration with one panel."""
    return Integration(
        "shop",
        [
            Operation("shop.own", nothing, Nothing, FREE, auth=Key()),
            Operation("shop.admin", nothing, Nothing, FREE, auth=Operator()),
            Operation("shop.put", nothing, Nothing, FREE, auth=Operator(), upload=True),
        ],
        schema="schema",
        hosts=["api.example.com"],
        customer=ShopCustomer,
        secrets=[Secret("token", "Token")],
        books=[Book("shop")],
        panels=[Panel("Shop", "Things", load, **panel)],
    )


def view(**more: Any) -> FakeView:
    """A view that has some of everything."""
    return FakeView(
        month="2026-10",
        results=[[{"name": "tea"}], {"name": "milk"}, 7],
        wire=FakeWire(json_answer({"state": "ok"})),
        secrets={"token": "t-1"},
        settings={"colour": "blue"},
        books={"shop": OCTOBER},
        balance=BALANCE,
        jobs={JOB: JobView("waiting", 1, None, None, None, None)},
        **more,
    )


async def test_a_load_gets_what_a_page_gives_it() -> None:
    async def load(view: PanelView) -> list[panels.Part]:
        async with view.db() as db:
            rows = await db.fetch("select name from thing where customer_id = $1", view.customer_id)
            row = await db.fetchrow("select name from thing")
            count = await db.fetchval("select count(*) from thing")
        request = httpx.Request("GET", "https://api.example.com/state")
        async with view.wire.send(request, secret="token") as answer:
            state = msgspec.json.decode(await answer.aread())["state"]
        assert row is not None
        assert await view.secrets.info("token") is not None
        assert (await view.balance(), await view.in_thread(lambda: 3)) == (BALANCE, 3)
        assert (await view.job(JOB)).status == "waiting"
        settings, book = await view.settings(), await view.book("shop")
        return [
            panels.Table(["Name"], [[one["name"]] for one in (*rows, row)]),
            panels.Stat(settings.colour, count, note=f"{state}, {view.month}, {view.filters['name']}"),
            panels.Stat("Spent", panels.Money(book.spent_nusd)),
        ]

    filters = [panels.Filter("name", "Name", default="any"), panels.Filter("month", "Month", "month")]
    one = view()
    assert await load_panel(shop(load, filters=filters), "Things", one) == [
        panels.Table(["Name"], [["tea"], ["milk"]]),
        panels.Stat("blue", 7, note="ok, 2026-10, any"),
        panels.Stat("Spent", panels.Money(50)),
    ]
    assert one.filters == {"name": "any", "month": "2026-10"}
    (sent,) = one.vendor.requests
    assert sent.headers["authorization"] == "Bearer t-1"
    assert one.database.statements[0] == ("select name from thing where customer_id = $1", (1,))


async def test_a_book_without_a_month_is_an_empty_one_of_the_pages_month() -> None:
    async def load(view: PanelView) -> list[panels.Part]:
        empty = await view.book("ai")
        assert (empty.month, empty.spent_nusd) == (date(2026, 10, 1), 0)
        assert (await view.book("ai", date(2026, 5, 17))).month == date(2026, 5, 1)
        return []

    assert await load_panel(shop(load), "Things", view()) == []


def post(one: Any) -> Any:
    return one.wire.send(httpx.Request("POST", "https://api.example.com/")).__aenter__()


def elsewhere(one: Any) -> Any:
    return one.wire.send(httpx.Request("GET", "https://evil.example/"), secret="token").__aenter__()


async def insert(one: Any) -> None:
    async with one.db() as db:
        await db.fetch("insert into thing (name) values ('x') returning id")


@pytest.mark.parametrize(
    ("tries", "error"),
    [
        (post, ValueError),
        (elsewhere, HostNotDeclared),
        (insert, AssertionError),
        (lambda one: one.secrets.info("password"), ValueError),
        (lambda one: one.book("other"), ValueError),
        (lambda one: one.job(UUID(int=7)), NotFound),
    ],
    ids=["post", "other-host", "insert", "other-secret", "other-book", "other-job"],
)
async def test_what_a_page_refuses_is_refused(tries: Callable[[Any], Awaitable[Any]], error: type[Exception]) -> None:
    async def load(one: PanelView) -> list[panels.Part]:
        with pytest.raises(error):
            await tries(one)
        return []

    await load_panel(shop(load), "Things", view())


async def test_without_a_customer_there_is_nothing_of_one() -> None:
    async def load(one: PanelView) -> list[panels.Part]:
        for what in (one.settings(), one.balance(), one.book("shop"), one.secrets.info("token")):
            with pytest.raises(ValueError, match="customer"):
                await what
        return []

    await load_panel(shop(load), "Things", view(customer_id=None))
    with pytest.raises(AssertionError, match="needs a customer"):
        await load_panel(shop(load, needs_customer=True), "Things", view(customer_id=None))


async def test_nothing_works_after_the_load() -> None:
    kept: list[PanelView] = []

    async def load(view: PanelView) -> list[panels.Part]:
        kept.append(view)
        return []

    await load_panel(shop(load), "Things", view())
    (late,) = kept
    for what in (late.settings(), late.balance(), late.job(JOB), late.in_thread(int), late.secrets.info("token")):
        with pytest.raises(TicketClosed):
            await what
    with pytest.raises(TicketClosed):
        late.db()


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ("text", "list of parts"),
        (["text"], "parts are those of"),
        ([panels.Table(["a", "b"], [["one"]])], "2 columns has a row with 1 cells"),
        ([panels.Table(["a"], [[["nested"]]])], "has a cell"),  # type: ignore[list-item]
        ([panels.Stat("a", panels.Time(datetime(2026, 1, 1)))], "a time has a zone"),
        ([panels.Stat("a", panels.Money(1.5))], "no whole number"),  # type: ignore[arg-type]
        ([panels.Chart("a", ["x"], [panels.Series("s", [1, 2])])], "not one value for each label"),
        ([panels.Form("shop.other", [])], "no operation 'shop.other'"),
        ([panels.Form("shop.own", [])], "admin page nobody can call"),
        ([panels.Form("shop.put", [])], "takes a file"),
        ([panels.File("shop.admin")], "takes no file"),
        ([panels.Table(["a"], [panels.Row(["x"], [panels.Action("Go", "shop.own")])])], "nobody can call"),
        ([panels.Action("Go", "shop.admin", form=panels.File("shop.put"))], "takes"),
        ([panels.Action("Go", "shop.admin", {"a": object()})], "cannot be shown"),  # type: ignore[dict-item]
        ([panels.Notice("info", "x")] * 31, "more than 30"),
    ],
)
async def test_what_a_page_cannot_show_is_told(parts: Any, why: str) -> None:
    async def load(view: PanelView) -> Any:
        return parts

    with pytest.raises(AssertionError, match=why):
        await load_panel(shop(load), "Things", view())


async def test_forms_where_they_can_be_called_pass() -> None:
    async def load(view: PanelView) -> list[panels.Part]:
        file = panels.File("shop.put", [panels.Field("name", "Name")])
        row = panels.Row(["x"], [panels.Action("Replace", "shop.put", form=file)])
        return [file, panels.Form("shop.admin", []), panels.Table(["a"], [row])]

    assert len(await load_panel(shop(load), "Things", view())) == 3


async def test_a_load_that_takes_too_long_ends() -> None:
    async def load(view: PanelView) -> list[panels.Part]:
        import asyncio

        await asyncio.sleep(3600)
        return []

    with pytest.raises(TimeoutError):
        await load_panel(shop(load, timeout_s=0.01), "Things", view())


async def test_who_reads_it_is_told() -> None:
    async def load(view: PanelView) -> list[panels.Part]:
        return [panels.Stat(view.caller.kind, view.caller.role)]

    reader = Caller("session", "viewer", "abcd", "ada@example.com")
    one = FakeView(caller=reader)
    assert await load_panel(shop(load, place="dashboard"), "Things", one) == [panels.Stat("session", "viewer")]
    assert one.month == f"{datetime.now(UTC):%Y-%m}"
