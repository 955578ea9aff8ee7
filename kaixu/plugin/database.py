"""What the handler of an integration can do in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from kaixu.plugin.blob import Blob, KeptBlob
from kaixu.plugin.job import JobView
from kaixu.plugin.money import Balance
from kaixu.plugin.replies import PageLink
from kaixu.plugin.secret import SecretValue
from kaixu.plugin.webhook import WebhookEvent


class Database(Protocol):
    """One transaction in the plugin's own schema. Run one statement at a time; rows are mappings."""

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """All rows, at most 10,000."""
        ...

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """The first row."""
        ...

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first column of the first row."""
        ...

    async def execute(self, sql: str, *args: Any) -> str:
        """The command tag, such as "UPDATE 3"."""
        ...

    async def enqueue(
        self,
        job: str,
        payload: msgspec.Struct,
        *,
        delay_s: float = 0,
        key: str | None = None,
        serial: str | None = None,
        customer_id: int | None = None,
    ) -> UUID:
        """Enqueue one of the integration's jobs in this transaction; its id.

        While a job of this name and customer with the same `key` has not ended, no second one is added, and its id is
        returned. Jobs of the integration with the same `serial` run one at a time, in the order in which they were
        enqueued, in all gateways together. `customer_id`: the customer that it is for, where the call has none, or
        another one; with the grant `customers`, and only for a job that is `Free`.
        """
        ...

    async def receive(self, webhook: str, event: WebhookEvent, body: bytes = b"") -> bool:
        """Store an event of a vendor that did not arrive, as if the webhook had brought it; whether it was new."""
        ...

    async def credit(
        self,
        customer_id: int,
        amount_nusd: int,
        *,
        key: str,
        month: str | None = None,
        source: str | None = None,
        reference: str | None = None,
    ) -> None:
        """Credit a customer, or take back (negative), once for each `key`; booked last in this transaction.

        `month` ("2026-11") is the present one by default; for a month that is over the present one gets it. `source`,
        by default the integration's name, and `reference`, the vendor's name for it, are shown to operators. Needs the
        grant `credit`, for another customer than the call's also `customers`. Leaving the block raises `Conflict` if
        the key was used for another customer or amount, `NotFound` for an unknown customer, `Unprocessable` for a month
        that is too far away or would be credited too much; then nothing of the block is done.
        """
        ...

    async def balance(self, customer_id: int | None = None) -> Balance:
        """What a customer, by default the call's, has in the present month, without this transaction's credits.

        Needs the grant `customers` for another customer than the call's. Raises `NotFound`.
        """
        ...

    async def mail(
        self,
        subject: str,
        paragraphs: Sequence[str],
        *,
        key: str,
        link: PageLink | None = None,
        customer_id: int | None = None,
    ) -> None:
        """Write to a customer, by default the call's, once for each `key`; sent after this transaction.

        Plain texts in the gateway's frame, to the account's address; a `link` is a path of the gateway or an https
        URL. Customers read it in their dashboard, too, and only there if the gateway sends no mail. Needs the grant
        `mail`, for another customer than the call's also `customers`. Leaving the block raises `NotFound` for an
        unknown customer, `Conflict` if the key was used for another one.
        """
        ...

    async def settings(self, *, customer_id: int | None = None) -> Any:
        """The settings of a customer, by default the call's, with what this transaction changes.

        Needs the grant `customers` for another customer than the call's. Raises as `Call.settings`.
        """
        ...

    async def change_settings(self, changes: Mapping[str, Any], *, customer_id: int | None = None) -> Any:
        """Change settings of such a customer with this transaction; returns all of them, as they will be.

        Raises `Unprocessable` for a value that is not possible. Leaving the block raises `Conflict` where another
        customer has a unique one, or other settings were changed meanwhile; then nothing of the block is done.
        """
        ...

    async def secret(self, name: str, *, customer_id: int | None = None) -> SecretValue | None:
        """A secret of such a customer, see `Secrets.read`."""
        ...

    async def clear_secret(self, name: str, *, version: str | None = None, customer_id: int | None = None) -> None:
        """Remove a secret of such a customer with this transaction; with `version` only if it is still that one."""
        ...

    async def audit(
        self,
        action: str,
        target: str | None = None,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        customer_id: int | None = None,
    ) -> None:
        """Write to the audit log with this transaction: what only the integration knows, about such a customer.

        `action` is in capitals, such as "PUSH_INIT"; `target` what it is about. Who did it, from where and in which
        request is added, and the integration's name. Secrets, settings and what operators call are audited anyway.
        """
        ...

    async def job(self, job_id: UUID, *, customer_id: int | None = None) -> JobView:
        """A job of this integration, and of the call's customer if it has one. Raises `NotFound`.

        `customer_id`: another customer's job, with the grant `customers`; so for `cancel` and `wake`.
        """
        ...

    async def cancel(self, job_id: UUID, *, customer_id: int | None = None) -> JobView:
        """Cancel such a job in this transaction; one that runs ends shortly after. Returns it. Raises `NotFound`."""
        ...

    async def wake(self, job: str, *, key: str, customer_id: int | None = None) -> bool:
        """Run the job that was enqueued with this `key` as soon as this transaction ends.

        Whatever it waits for: its time, `Again`, a failed attempt, room under a cap; its attempts stay as they are. One
        that runs already, and may have looked too early, runs once more after that. Returns whether there is one that
        has not ended.
        """
        ...

    async def hold(
        self, charge: str, *, key: str, units: int = 1, for_s: float, customer_id: int | None = None
    ) -> None:
        """Reserve one of the integration's `charges` for the call's customer, for so long, under a key of your own.

        Holding again under the same key sets units and time. Done when the block ends: where there is no room under the
        cap, leaving it raises `HoldRefused`, and everything in the transaction is rolled back. `customer_id`: another
        customer than the call's, with the grant `customers`; so for `charge` and `release`. Without a key of the
        customer's own, only what was held before can be changed.
        """
        ...

    async def charge(
        self,
        charge: str,
        *,
        key: str,
        units: int = 1,
        at: datetime | None = None,
        customer_id: int | None = None,
    ) -> None:
        """Bill a charge once for each key, in this transaction, in the month of `at` (default: now); never refused.

        The hold's key is billed, also if it was revoked meanwhile. Without a hold, the call's own is; where it has
        none, leaving the block raises `ValueError`.
        """
        ...

    async def release(self, charge: str, *, key: str, customer_id: int | None = None) -> None:
        """Release what is held under a key, in this transaction; nothing happens where nothing is."""
        ...

    async def keep(self, blob: Blob, name: str, *, for_s: float) -> None:
        """Keep a blob for `for_s` seconds, under a name of the integration and the customer, in this transaction.

        The blob that had the name before is removed. To keep one again prolongs it, or gives it another name. Raises
        `NotFound` for one that is not there any more, `ValueError` for a call without a customer.
        """
        ...

    async def kept(self, prefix: str = "", *, customer_id: int | None = None) -> Sequence[KeptBlob]:
        """The kept blobs whose names begin with `prefix`, by name. Raises `TooLarge` for more than 10,000.

        `customer_id`: another customer's, with the grant `customers`; so for `drop`.
        """
        ...

    async def drop(self, prefix: str, *, customer_id: int | None = None) -> int:
        """Remove the kept blobs whose names begin with `prefix`, with this transaction; how many.

        One that a job has in its payload lives until that has ended.
        """
        ...
