"""The secrets and settings of a call without a gateway; they behave as the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from kaixu.plugin.customer_settings import checked_changes, read_settings, value_conflict
from kaixu.plugin.operation import Integration
from kaixu.plugin.secret import SecretInfo, SecretValue, require_meta, require_value

#: What `info` says of secrets that a test gives.
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


class FakeSecrets:
    """The secrets of one customer, in `values`; `used` contains every value that was read or stored.

    `require_customer` raises where the call is closed or has no customer. `integration` is set when the call runs;
    before that, every name counts as declared.
    """

    def __init__(self, values: Mapping[str, str], require_customer: Callable[[], object]) -> None:
        self.values = dict(values)
        self.infos = {name: SecretInfo({}, WHEN, "operator") for name in values}
        self.stored = 0  # how often a value was stored: the next one's version
        self.versions: dict[str, str] = {}
        self.used: set[str] = set()
        self.integration: Integration | None = None
        self._require_customer = require_customer

    def require(self, name: str) -> None:
        """Raises `ValueError` for a secret that is not declared, `TicketClosed`."""
        self._require_customer()
        if self.integration is not None and name not in {one.name for one in self.integration.secrets}:
            raise ValueError(f"integration `{self.integration.name}` declares no secret `{name}`")

    async def get(self, name: str) -> str | None:
        """See `Secrets.get`."""
        self.require(name)
        value = self.values.get(name)
        self.used |= set() if value is None else {value}
        return value

    async def read(self, name: str) -> SecretValue | None:
        """See `Secrets.read`."""
        value = await self.get(name)
        return None if value is None else SecretValue(value, self.version(name))

    def version(self, name: str) -> str:
        """Which value it is."""
        return self.versions.get(name, "given")

    async def put(self, name: str, value: str, *, meta: Mapping[str, Any] | None = None) -> None:
        """See `Secrets.put`."""
        self.require(name)
        require_value(value, name)
        shown = require_meta(meta or {}, value)
        self.values[name] = value
        self.stored += 1
        self.versions[name] = f"stored-{self.stored}"
        by = "integration" if self.integration is None else f"integration:{self.integration.name}"
        self.infos[name] = SecretInfo(shown, datetime.now(UTC), by)
        self.used.add(value)

    async def clear(self, name: str, *, version: str | None = None) -> bool:
        """See `Secrets.clear`."""
        self.require(name)
        if version is not None and version != self.version(name):
            return False
        self.infos.pop(name, None)
        return self.values.pop(name, None) is not None

    async def info(self, name: str) -> SecretInfo | None:
        """See `Secrets.info`."""
        self.require(name)
        return self.infos.get(name)


class FakeSettings:
    """The settings of one customer. `values` has those that were set, `others` the unique values of other customers.

    `others` is by field and value: `{("stripe_customer_id", "cus_1"): 7}`.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        others: Mapping[tuple[str, str | int], int],
        require_open: Callable[[], object],
        customer: Callable[[], int],
    ) -> None:
        self.values = dict(values)
        self.others = dict(others)
        self.integration: Integration | None = None
        self._require_open = require_open
        self._customer = customer

    def _kind(self) -> type[msgspec.Struct]:
        if self.integration is None or self.integration.customer is None:
            raise ValueError("the integration declares no settings of customers")
        return self.integration.customer

    async def read(self) -> msgspec.Struct:
        """See `Call.settings`."""
        self._customer()
        return read_settings(self._kind(), self.values)

    async def change(self, changes: Mapping[str, Any]) -> msgspec.Struct:
        """See `Call.change_settings`."""
        self._customer()
        self.take(self.checked(changes, {}))
        return await self.read()

    def checked(self, changes: Mapping[str, Any], gathered: Mapping[str, Any]) -> dict[str, Any]:
        """Changes as they are stored, after those that a transaction has gathered. Raises `Unprocessable`."""
        return checked_changes(self._kind(), self.values | dict(gathered), changes)

    def with_changes(self, gathered: Mapping[str, Any]) -> msgspec.Struct:
        """The settings as a transaction leaves them."""
        return read_settings(self._kind(), self.values | dict(gathered))

    def take(self, checked: Mapping[str, Any]) -> None:
        """Store checked changes. Raises `Conflict` where another customer has a unique value."""
        assert self.integration is not None
        for field in self.integration.unique:
            if checked.get(field) and (field, checked[field]) in self.others:
                raise value_conflict(field)
        self.values |= checked

    async def customer_with(self, field: str, value: str | int) -> int | None:
        """See `Call.customer_with`."""
        self._require_open()
        if self.integration is None or field not in self.integration.unique:
            name = "" if self.integration is None else self.integration.name
            raise ValueError(f"`{field}` is not a unique setting of integration `{name}`")
        if value and self.values.get(field) == value:
            return self._customer()
        return self.others.get((field, value))
