"""Change a customer's settings of an integration: checked, written and noted in the audit log in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kaixu.plugin.customer_settings import checked_changes, read_settings, shown_settings, value_conflict
from kaixu.plugin.errors import NotFound, PluginFailed
from kaixu.plugin.operation import Integration

from .audit import AuditEvent, write_audit
from .customers import locked_customer
from .integration_settings import stored_settings, write_settings
from .pool import database
from .query import DatabaseSession


async def change_settings(
    db: DatabaseSession,
    customer_id: int,
    integration: Integration,
    changes: Mapping[str, Any],
    *,
    reset: Sequence[str] = (),
    actor: str,
    request_id: str | None,
    path: str = "settings",
) -> msgspec.Struct:
    """Set the values of `changes`, and give those of `reset` their defaults; returns all settings.

    `path`: how errors name the settings. Raises `Unprocessable`, `NotFound`, `Conflict` where another customer has a
    unique value, `DatabaseAway`.
    """
    kind = integration.customer
    assert kind is not None
    with database():
        async with db.transaction():
            if await locked_customer(db, customer_id) is None:
                raise NotFound(f"there is no customer {customer_id}", code="UNKNOWN_CUSTOMER")
            stored = await stored_settings(db, customer_id, integration.name)
            checked = checked_changes(kind, stored, changes, reset, path=path)
            gone = [name for name in reset if name in stored]
            if not gone and all(name in stored and stored[name] == value for name, value in checked.items()):
                return read_settings(kind, stored)
            written = await write_settings(
                db, customer_id, integration.name, checked, reset=gone, unique=integration.unique
            )
            if written.refused is not None:
                raise value_conflict(written.field or "", path)
            assert written.settings is not None
            await write_audit(
                db,
                AuditEvent(
                    actor,
                    "INTEGRATION_SETTINGS",
                    f"customer:{customer_id}",
                    request_id,
                    before=shown(kind, stored, [*checked, *gone]),
                    after=shown(kind, written.settings, [*checked, *gone]),
                    meta={"integration": integration.name},
                ),
            )
            return read_settings(kind, written.settings)


def shown(kind: type[msgspec.Struct], stored: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Some settings as the audit log keeps them, with defaults."""
    try:
        settings = shown_settings(read_settings(kind, stored))
    except PluginFailed:  # a value that is just being replaced
        settings = shown_settings(kind()) | dict(stored)
    return {name: settings[name] for name in names}
