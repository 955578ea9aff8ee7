"""What a call of an integration reaches beside its tables: customers, notes for operators, its reaction's threshold."""

from __future__ import annotations

import math
from typing import Any, get_args

import msgspec

from kaixu.catalog.catalog import IntegrationState
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.customers import CustomerView
from kaixu.plugin.errors import Conflict, TicketClosed
from kaixu.plugin.operation import NoteLevel
from kaixu.store.customer_views import view_of_customer, view_of_email
from kaixu.store.integration_settings import customer_with
from kaixu.store.pool import database
from kaixu.store.reactions import rearm_balance
from kaixu.store.rights import Rights

from .gate import Gate
from .wire import TicketWire
from .without_secrets import without

#: Characters of a note's summary, bytes of its details as JSON, and notes of one call.
MOST_SUMMARY = 500
MOST_DETAIL_BYTES = 4 * 1024
MOST_NOTES = 100

#: The longest time after which a threshold is looked at again.
MOST_REARM_S = 31 * 24 * 3600.0


class CallAccess:
    """See `kaixu.plugin.Customers`, `Call.note` and `Call.rearm`. Nothing here works after the call."""

    def __init__(
        self, gate: Gate, integration: IntegrationState, customer_id: int | None, wire: TicketWire, request_id: str
    ) -> None:
        self._gate = gate
        self._integration = integration
        self._customer_id = customer_id
        self._wire = wire
        self._rights = Rights(integration.name, customer_id, None, integration.grants, request_id)
        self._notes = 0
        self.handlers = integration.handlers

    def require_open(self) -> None:
        """Raises `TicketClosed`."""
        if self._wire.closed:
            raise TicketClosed("the call has been settled; it reaches no customers and writes no notes any more")

    # The methods of `kaixu.plugin.Customers`.

    def require_granted(self) -> None:
        """Raises `TicketClosed`, `ValueError`."""
        self.require_open()
        self._rights.require("customers")

    async def get(self, customer_id: int) -> CustomerView | None:
        """See `Customers.get`."""
        self.require_granted()
        if isinstance(customer_id, bool) or not isinstance(customer_id, int) or not 0 < customer_id < 2**63:
            return None
        with database():
            return await view_of_customer(self._gate.databases.pool, customer_id)

    async def with_email(self, email: str) -> CustomerView | None:
        """See `Customers.with_email`."""
        self.require_granted()
        if not isinstance(email, str) or "\0" in email:
            return None
        with database():
            return await view_of_email(self._gate.databases.pool, email.strip())

    async def with_setting(self, field: str, value: str | int) -> CustomerView | None:
        """See `Customers.with_setting`."""
        self.require_granted()
        declared = self._integration.integration
        assert declared is not None
        if field not in declared.unique:
            raise ValueError(f"`{field}` is not a unique setting of integration `{self._integration.name}`")
        found = await customer_with(self._gate.databases.pool, self._integration.name, field, value) if value else None
        return None if found is None else await self.get(found)

    async def create(self, email: str, *, plan: str | None = None) -> CustomerView:
        """See `Customers.create`."""
        self.require_granted()
        assert self._gate.create_customer is not None
        actor = f"integration:{self._integration.name}"
        customer_id = await self._gate.create_customer(email, plan, actor, self._rights.request_id)
        made = await self.get(customer_id)
        if made is None:
            raise Conflict(f"customer {customer_id} was deleted just after it was created")
        return made

    # Of the call itself.

    async def rearm(self, after_s: float) -> bool:
        """See `Call.rearm`. Raises `TicketClosed`, `ValueError`."""
        self.require_open()
        is_number = isinstance(after_s, int | float) and not isinstance(after_s, bool) and math.isfinite(after_s)
        if not is_number or not 0 <= after_s <= MOST_REARM_S:
            raise ValueError(f"a threshold is looked at again after 0 to {MOST_REARM_S:.0f} s, not {after_s!r:.40}")
        if self._customer_id is None:
            raise ValueError("this call has no customer")
        pool = self._gate.databases.pool
        with database():
            return await rearm_balance(pool, self._customer_id, self._integration.name, after_s=after_s)

    def note(self, level: NoteLevel, summary: str, **detail: Any) -> None:
        """See `Call.note`. Raises `TicketClosed`, `ValueError`."""
        self.require_open()
        if level not in get_args(NoteLevel):
            raise ValueError(f"there is no level {level!r:.40}; there are {', '.join(get_args(NoteLevel))}")
        if not isinstance(summary, str) or not 0 < len(summary) <= MOST_SUMMARY:
            raise ValueError(f"the summary of a note has 1 to {MOST_SUMMARY} characters")
        try:
            data = msgspec.json.encode(detail)
        except (TypeError, ValueError, RecursionError):
            raise ValueError("the details of a note must be JSON") from None
        if len(data) > MOST_DETAIL_BYTES:
            raise ValueError(f"the details of a note have at most {MOST_DETAIL_BYTES} bytes as JSON")
        self._notes += 1
        if self._notes > MOST_NOTES:
            raise ValueError(f"a call writes at most {MOST_NOTES} notes")
        secrets = self._wire.lent_secrets
        if self._gate.record_event is not None:
            self._gate.record_event(
                MonitorEvent(
                    kind="integration_note" if level == "info" else "integration_alert",
                    level=level,
                    request_id=self._rights.request_id,
                    customer_id=self._customer_id,
                    provider=self._integration.name,
                    error_message=without(summary, secrets),
                    extra=msgspec.json.decode(without(data.decode(), secrets)),
                )
            )
