"""All columns with sealed texts that stay for long: read and replaced one by one, while gateways use them."""

from __future__ import annotations

from typing import Any

import msgspec

from .query import Connection

#: Keys that are read at once.
KEYS_AT_ONCE = 1000


class SealedColumn(msgspec.Struct, frozen=True):
    """A column with sealed texts, and the columns of its table's primary key with their types."""

    table: str
    column: str
    key: tuple[tuple[str, str], ...]

    @property
    def names(self) -> str:
        """The columns of the key."""
        return ", ".join(name for name, _ in self.key)

    def parameters(self, first: int) -> str:
        """The parameters of a key, the first of which has this number."""
        return ", ".join(f"${first + at}::{kind}" for at, (_, kind) in enumerate(self.key))


BY_ID = (("id", "bigint"),)
BY_UUID = (("id", "uuid"),)
BY_CUSTOMER = (("customer_id", "bigint"),)

COLUMNS = (
    SealedColumn(
        "integration_secret", "sealed", (("customer_id", "bigint"), ("integration", "text"), ("name", "text"))
    ),
    SealedColumn("alert_webhook", "url", (("customer_id", "bigint"),)),
    SealedColumn("operator", "totp_secret", BY_ID),
    SealedColumn("operator", "totp_pending", BY_ID),
    SealedColumn("mail", "sealed", BY_UUID),
    SealedColumn("file", "content", BY_UUID),
    SealedColumn("blob", "sealed_key", BY_UUID),
    SealedColumn("callback_state", "sealed", (("state_hash", "bytea"),)),
    SealedColumn("job", "payload", BY_UUID),
    SealedColumn("job", "result", BY_UUID),
    SealedColumn("job", "webhook", BY_UUID),
)


async def keys_after(db: Connection, column: SealedColumn, after: tuple[Any, ...] | None) -> list[tuple[Any, ...]]:
    """The next keys of rows with a text, in order. A reaction's job has an empty one, which is not sealed."""
    beyond = "" if after is None else f"and ({column.names}) > ({column.parameters(1)})"
    rows = await db.fetch(
        f"select {column.names} from kaixu.{column.table} where {column.column} <> '' {beyond}"  # noqa: S608
        f" order by {column.names} limit {KEYS_AT_ONCE}",
        *(after or ()),
    )
    return [tuple(row) for row in rows]


async def sealed_text(db: Connection, column: SealedColumn, key: tuple[Any, ...]) -> bytes | None:
    """A row's sealed text; None: it is gone."""
    found: bytes | None = await db.fetchval(
        f"select {column.column} from kaixu.{column.table} where ({column.names}) = ({column.parameters(1)})",  # noqa: S608
        *key,
    )
    return found


async def replace_sealed(
    db: Connection, column: SealedColumn, key: tuple[Any, ...], before: bytes, after: bytes
) -> bool:
    """Replace a row's sealed text, if it is still `before`; whether it was."""
    status = await db.execute(
        f"update kaixu.{column.table} set {column.column} = $1"  # noqa: S608
        f" where {column.column} = $2 and ({column.names}) = ({column.parameters(3)})",
        after,
        before,
        *key,
    )
    return status == "UPDATE 1"
