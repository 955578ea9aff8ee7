"""Deletes many rows in small statements, so that none of them holds its locks for long."""

from __future__ import annotations

from .query import Connection


async def delete_in_batches(db: Connection, statement: str, *arguments: object, at_once: int) -> int:
    """Repeat a `delete` of at most `at_once` rows until it finds fewer; return how many rows it deleted in all."""
    deleted = 0
    while True:
        status = await db.execute(statement, *arguments)
        count = int(status.rsplit(" ", 1)[-1])
        deleted += count
        if count < at_once:
            return deleted
