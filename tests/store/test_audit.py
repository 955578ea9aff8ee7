"""The audit log is append-only."""

from __future__ import annotations

import asyncpg
import pytest

from kaixu.store.audit import AuditEvent, write_audit


async def test_an_audit_event_is_neither_changed_nor_deleted(pool: asyncpg.Pool) -> None:
    await write_audit(pool, AuditEvent("admin", "KEY_REVOKE", "key:1", "r", {"a": 1}, {"a": 2}, {"b": 3}))
    await pool.execute("update kaixu.audit_event set actor = 'nobody'")
    await pool.execute("delete from kaixu.audit_event")
    row = await pool.fetchrow("select actor, action, target, request_id, before, after, meta from kaixu.audit_event")
    assert row is not None
    assert tuple(row) == ("admin", "KEY_REVOKE", "key:1", "r", {"a": 1}, {"a": 2}, {"b": 3})


async def test_the_audit_log_is_never_emptied(pool: asyncpg.Pool) -> None:
    await write_audit(pool, AuditEvent("admin", "KEY_REVOKE", "key:1", "r", {}, {}, {}))
    with pytest.raises(asyncpg.RaiseError, match="never emptied"):
        await pool.execute("truncate kaixu.audit_event")
    assert await pool.fetchval("select count(*) from kaixu.audit_event") == 1
