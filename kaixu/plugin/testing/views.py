"""A view of a panel without a gateway, and how its `load` is run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

import httpx

from kaixu.plugin.access import Caller
from kaixu.plugin.book import BookMonth
from kaixu.plugin.errors import NotFound, TicketClosed
from kaixu.plugin.job import JobView
from kaixu.plugin.money import Balance
from kaixu.plugin.operation import Integration
from kaixu.plugin.origins import Hosts
from kaixu.plugin.own_thread import Threads, ThreadWire
from kaixu.plugin.panel import Panel
from kaixu.plugin.panels import Part
from kaixu.plugin.secret import SecretInfo
from kaixu.plugin.statements import verb_of
from kaixu.plugin.tries import ONCE, Accept, Tries

from .checks import must
from .customer_data import FakeSecrets, FakeSettings
from .database import FakeDatabase
from .parts import check_parts
from .wire import FakeWire

P = ParamSpec("P")
R = TypeVar("R")

#: What a statement of a panel begins with: the transaction only reads.
READING = ("select", "with", "values", "table")


class FakePanelWire:
    """See `PanelWire`: it answers as the `FakeWire` of the view does."""

    def __init__(self, wire: FakeWire, secrets: FakeSecrets) -> None:
        self._wire = wire
        self._secrets = secrets

    @asynccontextmanager
    async def send(
        self,
        request: httpx.Request,
        *,
        secret: str | None = None,
        scheme: str = "Bearer",
        accept: Accept = (),
        tries: Tries = ONCE,
        timeout_s: float | None = None,
        most_bytes: int | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """See `PanelWire.send`."""
        if request.method not in ("GET", "HEAD"):
            raise ValueError(f"a panel reads: its wire sends GET and HEAD, not {request.method}")
        if secret is not None:
            if self._wire.hosts is not None:
                self._wire.hosts.require(request.url)
            value = await self._secrets.get(secret)
            if value is None:
                raise NotFound(f"the secret `{secret}` is not set")
            headers = [*request.headers.raw, (b"authorization", f"{scheme} {value}".encode())]
            request = httpx.Request(request.method, request.url, headers=headers)
        sending = self._wire.send(request, accept=accept, tries=tries, timeout_s=timeout_s, most_bytes=most_bytes)
        async with sending as response:
            yield response

    def may_send_to(self, url: str) -> bool:
        """See `PanelWire.may_send_to`."""
        return self._wire.may_send_to(url)

    def blocking(self) -> ThreadWire:
        """See `PanelWire.blocking`."""
        return ThreadWire(self)


class FakeSecretStates:
    """See `SecretStates`."""

    def __init__(self, secrets: FakeSecrets) -> None:
        self._secrets = secrets

    async def info(self, name: str) -> SecretInfo | None:
        """See `SecretStates.info`."""
        return await self._secrets.info(name)


class FakeReading:
    """See `ReadDatabase`: it answers each statement with the next of `results`, as a `FakeDatabase` does."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """See `ReadDatabase.fetch`."""
        return await self._database.fetch(self._reads(sql), *args)

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """See `ReadDatabase.fetchrow`."""
        return await self._database.fetchrow(self._reads(sql), *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """See `ReadDatabase.fetchval`."""
        return await self._database.fetchval(self._reads(sql), *args)

    def _reads(self, sql: str) -> str:
        must(verb_of(sql) in READING, f"a panel only reads: {sql!r}")
        return sql


class FakeView:
    """A view without a gateway. After `load_panel` it raises `TicketClosed`, like a real one.

    `results` are what its statements return, in order; `books` what `book` returns, by name; `balances` what `balance`
    does; `jobs` what `job` finds. `vendor` has the requests that it has sent.
    """

    def __init__(
        self,
        *,
        options: Any = None,
        customer_id: int | None = 1,
        caller: Caller | None = None,
        month: str = "",
        filters: Mapping[str, str] | None = None,
        results: Sequence[Any] = (),
        wire: FakeWire | None = None,
        secrets: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        books: Mapping[str, BookMonth] | None = None,
        balance: Balance | None = None,
        jobs: Mapping[UUID, JobView] | None = None,
    ) -> None:
        self.options = options
        self.customer_id = customer_id
        self.caller = caller or Caller("operator", "owner", email="operator@example.com")
        self.month = month or f"{datetime.now(UTC):%Y-%m}"
        self.filters: Mapping[str, str] = filters or {}
        self.request_id = "request"
        self.vendor = wire or FakeWire()
        self.customer_secrets = FakeSecrets(secrets or {}, self._require_customer)
        self.wire = FakePanelWire(self.vendor, self.customer_secrets)
        self.secrets = FakeSecretStates(self.customer_secrets)
        self.customer_settings = FakeSettings(settings or {}, {}, self._require_open, self._require_customer)
        self.database = FakeDatabase(results)
        self.books = dict(books or {})
        self.jobs = dict(jobs or {})
        self.closed = False
        self._balance = balance
        self._threads = Threads()
        self._integration: Integration | None = None

    def of(self, integration: Integration) -> None:
        """Make this a view of an integration: only what it declares exists. `load_panel` does it."""
        self._integration = self.customer_secrets.integration = self.customer_settings.integration = integration
        self.vendor.hosts = Hosts(integration.hosts, self.options)

    async def end(self) -> None:
        """The panel is loaded."""
        await self._threads.end()
        self.closed = self.database.closed = True
        self.vendor.close()

    def _require_open(self) -> None:
        if self.closed:
            raise TicketClosed("the panel is loaded; its view reads nothing more")

    def _require_customer(self) -> int:
        self._require_open()
        if self.customer_id is None:
            raise ValueError("this panel has no customer")
        return self.customer_id

    async def settings(self) -> Any:
        """See `PanelView.settings`."""
        return await self.customer_settings.read()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[FakeReading]:
        async with self.database.transaction():
            yield FakeReading(self.database)

    def db(self) -> AbstractAsyncContextManager[FakeReading]:
        """See `PanelView.db`."""
        self._require_open()
        if self._integration is not None and self._integration.schema is None:
            raise ValueError(f"integration `{self._integration.name}` declares no tables")
        return self._reading()

    async def book(self, name: str, month: date | None = None) -> BookMonth:
        """The month in `books`, by the book's name; an empty one where there is none."""
        self._require_customer()
        declared = None if self._integration is None else {"ai", *(one.name for one in self._integration.books)}
        if declared is not None and name not in declared:
            raise ValueError(f"the integration declares no book `{name}`")
        first = (month or date.fromisoformat(f"{self.month}-01")).replace(day=1)
        return self.books.get(name, BookMonth(name, first, "default", None, 0, 0, 0, []))

    async def balance(self) -> Balance:
        """The balance that the view was given. Raises `NotFound` without one."""
        self._require_customer()
        if self._balance is None:
            raise NotFound(f"there is no customer {self.customer_id}")
        return self._balance

    async def job(self, job_id: UUID) -> JobView:
        """The view of it in `jobs`. Raises `NotFound` where there is none."""
        self._require_open()
        if job_id not in self.jobs:
            raise NotFound(f"there is no job {job_id}", hint="Jobs are deleted some days after their end.")
        return self.jobs[job_id]

    async def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `PanelView.in_thread`."""
        self._require_open()
        return await self._threads.run(function, *args, **kwargs)


def panel_named(integration: Integration, title: str, place: str | None = None) -> Panel:
    """The panel with this title. Raises `AssertionError` for none, or for two of both places."""
    found = [one for one in integration.panels if one.title == title and place in (None, one.place)]
    must(len(found) == 1, f"{len(found)} panels of `{integration.name}` are called {title!r}: say which `place`")
    return found[0]


async def load_panel(
    integration: Integration, panel: Panel | str, view: FakeView, *, place: str | None = None
) -> Sequence[Part]:
    """Load a panel, by its title, as the gateway would, and close its view. Returns its parts.

    Filters that the view does not have get their defaults. Raises what `load` raises, `TimeoutError`, and
    `AssertionError` for parts that a page cannot show.
    """
    one = panel if isinstance(panel, Panel) else panel_named(integration, panel, place)
    view.of(integration)
    view.filters = {each.name: view.filters.get(each.name, each.default) for each in one.filters}
    if any(each.type == "month" for each in one.filters):
        view.filters["month"] = view.month
    must(view.customer_id is not None or not one.needs_customer, f"panel {one.title!r} needs a customer")
    try:
        async with asyncio.timeout(one.timeout_s):
            parts = await one.load(view)
    finally:
        await view.end()
    check_parts(integration, one, parts)
    return parts
