"""A panel: a part of a page that an integration fills with values, and what its `load` gets. It only reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Any, Literal, ParamSpec, Protocol, TypeVar
from uuid import UUID

import httpx
import msgspec

from kaixu.plugin.access import Caller
from kaixu.plugin.book import BookMonth
from kaixu.plugin.integration_wire import BlockingWire
from kaixu.plugin.job import JobView
from kaixu.plugin.money import Balance
from kaixu.plugin.panels import Filter, Part
from kaixu.plugin.secret import SecretInfo
from kaixu.plugin.tries import Accept, Tries

P = ParamSpec("P")
R = TypeVar("R")


class ReadDatabase(Protocol):
    """A transaction in the plugin's own schema that can only read; nothing of it is kept."""

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """All rows, at most 10,000."""
        ...

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """The first row."""
        ...

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first column of the first row."""
        ...


class SecretStates(Protocol):
    """Whether the customer's secrets are set. A panel does not get their values."""

    async def info(self, name: str) -> SecretInfo | None:
        """What may be shown of a declared secret; None: there is none."""
        ...


class PanelWire(Protocol):
    """The connection to vendors while a panel is loaded, to the integration's hosts. It sends GET and HEAD only."""

    def send(
        self,
        request: httpx.Request,
        *,
        secret: str | None = None,
        scheme: str = "Bearer",
        accept: Accept = ...,
        tries: Tries = ...,
        timeout_s: float | None = ...,
        most_bytes: int | None = ...,
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """As `IntegrationWire.send`.

        `secret`: the name of a secret of the customer, which the core puts into the header `authorization`, after
        `scheme`. Raises `NotFound` where it is not set, `ValueError` for another method.
        """
        ...

    def may_send_to(self, url: str) -> bool:
        """See `IntegrationWire.may_send_to`."""
        ...

    def blocking(self) -> BlockingWire:
        """The same wire for a thread of `view.in_thread`."""
        ...


class PanelView(Protocol):
    """What `load` of a panel gets. Nothing on it works after the panel is loaded, and nothing on it changes anything.

    `month`: the one that the page shows ("2026-11"). `filters`: by name, each with a value.
    """

    @property
    def options(self) -> Any: ...

    @property
    def customer_id(self) -> int | None:
        """In the dashboard, the customer who reads it; in the admin page, the one that is selected, or None."""
        ...

    @property
    def caller(self) -> Caller:
        """Who reads the page."""
        ...

    @property
    def month(self) -> str: ...

    @property
    def filters(self) -> Mapping[str, str]: ...

    @property
    def request_id(self) -> str: ...

    @property
    def wire(self) -> PanelWire: ...

    @property
    def secrets(self) -> SecretStates: ...

    async def settings(self) -> Any:
        """See `Call.settings`."""
        ...

    def db(self) -> AbstractAsyncContextManager[ReadDatabase]:
        """Read the plugin's own tables."""
        ...

    async def book(self, name: str, month: date | None = None) -> BookMonth:
        """A month of the view's customer in a book: the one that the page shows, if none is said. See `Call.book`."""
        ...

    async def balance(self) -> Balance:
        """What the view's customer has in the present month. Raises `NotFound`, `ValueError` without a customer."""
        ...

    async def job(self, job_id: UUID) -> JobView:
        """A job of this integration, and of the view's customer if it has one. Raises `NotFound`."""
        ...

    async def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See `Call.in_thread`."""
        ...


Load = Callable[[Any], Awaitable[Sequence[Part]]]


class Panel(msgspec.Struct, frozen=True):
    """A panel of the pages: `load(view)` returns its parts, from `kaixu.plugin.panels`.

    `tab`: the title of a tab of the integration's own, which its panels share; or "customers" (admin page only) or
    "billing": a tab of the gateway's, where it comes below. `place`: the admin page, or the customers' dashboard. In
    the admin page `customer_id` may be None; with `needs_customer` the page then asks for one, and `load` is not
    called. `refresh_s`: the panel is loaded again that often while the page is open. A load that takes longer than
    `timeout_s` ends, and the panel says so.
    """

    tab: str
    title: str
    load: Load
    place: Literal["admin", "dashboard"] = "admin"
    needs_customer: bool = False
    filters: Sequence[Filter] = ()
    refresh_s: float | None = None
    timeout_s: float = 5.0
