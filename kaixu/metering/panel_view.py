"""What `load` of a panel gets: it reads, and changes nothing. Nothing on it works after the panel is loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

import httpx

from kaixu.catalog.catalog import IntegrationState
from kaixu.plugin.access import Caller
from kaixu.plugin.book import BookMonth
from kaixu.plugin.deadline import Deadline
from kaixu.plugin.errors import NotFound, TicketClosed
from kaixu.plugin.job import JobView
from kaixu.plugin.money import Balance
from kaixu.plugin.own_thread import Threads, ThreadWire
from kaixu.plugin.panel import ReadDatabase
from kaixu.plugin.secret import SecretInfo
from kaixu.plugin.tries import ONCE, Accept, Tries
from kaixu.store.plugin_credits import balance_of
from kaixu.store.plugin_reading import job_seen

from .customer_data import CustomerData
from .gate import Gate
from .integration_wire import IntegrationWire

P = ParamSpec("P")
R = TypeVar("R")

#: What a vendor takes to read only.
READING = ("GET", "HEAD")


class PanelWire:
    """See `kaixu.plugin.PanelWire`."""

    def __init__(self, wire: IntegrationWire, customer_data: CustomerData) -> None:
        self._wire = wire
        self._customer_data = customer_data

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
        """See `kaixu.plugin.PanelWire.send`."""
        if request.method not in READING:
            raise ValueError(f"a panel reads: its wire sends {' and '.join(READING)}, not {request.method}")
        if secret is not None:
            # Whether the host is declared comes first: the value goes nowhere else.
            self._wire.hosts.require(request.url)
            value = await self._customer_data.get(secret)
            if value is None:
                raise NotFound(f"the secret `{secret}` is not set")
            headers = [*request.headers.raw, (b"authorization", f"{scheme} {value}".encode())]
            request = httpx.Request(request.method, request.url, headers=headers)
        sending = self._wire.send(request, accept=accept, tries=tries, timeout_s=timeout_s, most_bytes=most_bytes)
        async with sending as response:
            yield response

    def may_send_to(self, url: str) -> bool:
        """See `kaixu.plugin.IntegrationWire.may_send_to`."""
        return self._wire.may_send_to(url)

    @property
    def lent_secrets(self) -> Collection[str]:
        """The customer's secrets that were sent."""
        return self._wire.lent_secrets

    def begin(self) -> None:
        """The load begins: its time limit runs."""
        self._wire.begin()

    def blocking(self) -> ThreadWire:
        """See `kaixu.plugin.IntegrationWire.blocking`."""
        return ThreadWire(self)


class SecretStates:
    """See `kaixu.plugin.SecretStates`."""

    def __init__(self, customer_data: CustomerData) -> None:
        self._customer_data = customer_data

    async def info(self, name: str) -> SecretInfo | None:
        """See `kaixu.plugin.SecretStates.info`."""
        return await self._customer_data.info(name)


class PanelView:
    """See `kaixu.plugin.PanelView`."""

    def __init__(
        self,
        gate: Gate,
        integration: IntegrationState,
        *,
        wire: IntegrationWire,
        customer_data: CustomerData,
        customer_id: int | None,
        caller: Caller,
        month: str,
        filters: Mapping[str, str],
        request_id: str,
    ) -> None:
        self.options = integration.options
        self.customer_id = customer_id
        self.caller = caller
        self.month = month
        self.filters = filters
        self.request_id = request_id
        self.wire = PanelWire(wire, customer_data)
        self.secrets = SecretStates(customer_data)
        self.timer: Deadline | None = None  # its time limit
        self._gate = gate
        self._integration = integration
        self._wire = wire
        self._customer_data = customer_data
        self._threads = Threads()
        self._is_running = False

    def is_open(self) -> bool:
        """Whether the panel is still being loaded."""
        return not self._wire.closed

    def require_open(self) -> None:
        """Raises `TicketClosed`."""
        if not self.is_open():
            raise TicketClosed("the panel is loaded; its view reads nothing more")

    async def settings(self) -> Any:
        """See `kaixu.plugin.PanelView.settings`."""
        return await self._customer_data.settings()

    def db(self) -> AbstractAsyncContextManager[ReadDatabase]:
        """See `kaixu.plugin.PanelView.db`."""
        self.require_open()
        declared = self._integration.integration
        assert declared is not None
        if declared.schema is None:
            raise ValueError(f"integration `{declared.name}` declares no tables")
        return self._gate.databases.reading(declared.name, is_open=self.is_open)

    async def book(self, name: str, month: date | None = None) -> BookMonth:
        """See `kaixu.plugin.PanelView.book`."""
        return await self._customer_data.book(name, month or date.fromisoformat(f"{self.month}-01"))

    async def balance(self) -> Balance:
        """See `kaixu.plugin.PanelView.balance`."""
        self.require_open()
        if self.customer_id is None:
            raise ValueError("this panel has no customer")
        return await balance_of(self._gate.databases.pool, self.customer_id)

    async def job(self, job_id: UUID) -> JobView:
        """See `kaixu.plugin.PanelView.job`."""
        self.require_open()
        return await job_seen(self._gate.databases.pool, job_id, self._integration.name, self.customer_id)

    async def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `kaixu.plugin.PanelView.in_thread`."""
        self.require_open()
        return await self._threads.run(function, *args, **kwargs)

    def note_running(self) -> None:
        """The load begins: the integration is not closed before its end."""
        self._is_running = True
        self._integration.handlers.append(None)

    async def end(self) -> None:
        """The load has ended: wait for its threads."""
        try:
            await self._threads.end()
        finally:
            if self._is_running:
                self._is_running = False
                self._integration.handlers.pop()
