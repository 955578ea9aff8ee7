"""Deliver webhooks from an outbox in the database: at least once, with retries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag

from kaixu.ops.late_import import ready
from kaixu.store.pool import database

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

#: The pauses after failed attempts. After the last attempt, the webhook is abandoned.
PAUSES_S = (5.0, 30.0, 300.0, 1800.0, 7200.0)

#: Webhooks of one outbox that one gateway delivers at once.
AT_ONCE = 20

#: The time limit for a receiver.
TIMEOUT_S = 10.0

#: The lease of a claimed webhook; after a crash, another gateway delivers it then.
LEASE_S = 60.0


class Message(msgspec.Struct, frozen=True):
    """One HTTP request. `what` names it in the log."""

    what: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class Due(Protocol):
    """A row of an outbox. `attempt` counts from 1."""

    @property
    def attempt(self) -> int: ...


Row = TypeVar("Row", bound=Due)


class Outbox(Protocol[Row]):
    """Webhooks to deliver. Any number of gateways may share one."""

    async def claim(self, *, lease_s: float, most: int) -> Sequence[Row]:
        """Claim rows that are due: each is due again after `lease_s`, unless its attempt is recorded before."""
        ...

    def message(self, row: Row) -> Message:
        """The request to send. Raises `InvalidTag` if the row was encrypted with another key."""
        ...

    def refusal(self, url: str) -> str | None:
        """Why nothing may be sent to `url`, or None."""
        ...

    def connector(self, *, limit: int) -> aiohttp.TCPConnector:
        """A connector that allows only valid receivers."""
        ...

    async def delivered(self, row: Row) -> None:
        """Record a delivered webhook."""
        ...

    async def failed(self, row: Row, *, error: str, retry_in_s: float | None) -> None:
        """Record a failed attempt. `retry_in_s`: None abandons the webhook."""
        ...


class WebhookSender(Generic[Row]):
    """One gateway's delivery from one outbox."""

    def __init__(self, outbox: Outbox[Row]) -> None:
        self.outbox = outbox

    async def round(self) -> None:
        """Deliver webhooks that are due. Raises `DatabaseAway`."""
        with database():
            due = await self.outbox.claim(lease_s=LEASE_S, most=AT_ONCE)
        if not due:
            return
        await ready("aiohttp")
        import aiohttp

        async with aiohttp.ClientSession(
            connector=self.outbox.connector(limit=AT_ONCE),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as http:
            # One that cannot be recorded must not end the others, whose connections close with this block.
            ends = await asyncio.gather(*(self.attempt(http, row) for row in due), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end

    async def attempt(self, http: aiohttp.ClientSession, row: Row) -> None:
        """One attempt at one webhook, and its record."""
        try:
            message = self.outbox.message(row)
        except InvalidTag:
            error: str | None = "it was encrypted with another DB_ENCRYPTION_KEY"
            what = "a webhook"
        else:
            error, what = await self.send(http, message), f"the webhook of {message.what}"
        with database():
            if error is None:
                await self.outbox.delivered(row)
                return
            retry_in_s = PAUSES_S[row.attempt - 1] if row.attempt <= len(PAUSES_S) else None
            await self.outbox.failed(row, error=error, retry_in_s=retry_in_s)
        outlook = "abandoned" if retry_in_s is None else f"next attempt in {retry_in_s:g} s"
        log.warning("%s failed, attempt %d, %s: %s", what, row.attempt, outlook, error)

    async def send(self, http: aiohttp.ClientSession, message: Message) -> str | None:
        """Send a message; None if it was accepted, otherwise the reason."""
        try:
            if (refusal := self.outbox.refusal(message.url)) is not None:
                return refusal
            async with http.post(
                message.url, data=message.body, headers=message.headers, allow_redirects=False
            ) as response:
                return None if 200 <= response.status < 300 else f"it answered {response.status}"
        except Exception as error:  # noqa: BLE001 - the URL and the answer are a stranger's; it would be retried forever
            return type(error).__name__
