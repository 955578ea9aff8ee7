"""In the modes `email` and `approval` nothing tells whether an address is known: the answer and the work are the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from kaixu.accounts.addresses import read_address
from kaixu.accounts.selfservice import Selfservice, request_key
from kaixu.config.environment import Secrets, Settings
from kaixu.config.mail_section import MailSection
from kaixu.config.selfservice_section import SelfserviceSection
from kaixu.plugin.errors import KaixuError
from tests.support.money import customer, virtual_key
from tests.support.process import SECRETS

MAIL = MailSection.model_validate({"host": "mail.example.com", "from": "gateway@example.com"})
SETTINGS = Settings(gateway_url="https://ai.example.com", database_url=SecretStr("postgresql://x/y"))
KEYS = Secrets(
    admin_password=SECRETS["ADMIN_PASSWORD"],
    jwt_secret=SECRETS["JWT_SECRET"],
    key_pepper=SECRETS["KEY_PEPPER"],
    db_encryption_key=SECRETS["DB_ENCRYPTION_KEY"],
)


def rules(mode: str, **fields: Any) -> Selfservice:
    return Selfservice(SelfserviceSection.model_validate({"mode": mode, **fields}), MAIL, SETTINGS, KEYS)


class Watched:
    """A pool that notes each statement, and what each transaction did to the tables, before it commits."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.statements: list[Any] = []
        self.work: dict[str, Any] = {}

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[WatchedConnection]:
        async with self.pool.acquire() as connection:
            yield WatchedConnection(self, connection)


class WatchedConnection:
    """A connection of it."""

    def __init__(self, watched: Watched, connection: Any) -> None:
        self.watched = watched
        self.connection = connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self.watched.statements.append("begin")
        async with self.connection.transaction():
            before = await self.figures()
            yield
            for name, figures in (await self.figures()).items():
                done = {what: count - before.get(name, {}).get(what, 0) for what, count in figures.items()}
                if any(done.values()):
                    self.watched.work[name] = done
        self.watched.statements.append("commit")

    async def figures(self) -> dict[str, dict[int, int]]:
        """What this connection has done to each table."""
        rows = await self.connection.fetch(
            """
            select relname, coalesce(seq_scan, 0), coalesce(seq_tup_read, 0), coalesce(idx_scan, 0), n_tup_ins, n_tup_upd,
                   n_tup_del
              from pg_stat_xact_user_tables
             where schemaname = 'kaixu'
            """
        )
        return {row[0]: dict(enumerate(row[1:])) for row in rows}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.connection, name)

        async def noted(sql: str, *arguments: Any) -> Any:
            sizes = [len(one) if isinstance(one, str | bytes) else type(one).__name__ for one in arguments]
            self.watched.statements.append((name, sql, sizes))
            return await method(sql, *arguments)

        return noted


async def known_addresses(pool: asyncpg.Pool) -> None:
    """`aaaa@…` is a customer of an operator's, with many new keys; `bbbb@…` has a self-service key; `cccc@…` is
    switched off. `dddd@…` is not known. All have the same length.
    """
    for name in ("aaaa", "cccc"):
        number = await customer(pool)
        await pool.execute("update kaixu.customer set email = $2 where id = $1", number, f"{name}@example.com")
        for _ in range(10):
            await virtual_key(pool, number)
    await pool.execute("update kaixu.customer set is_active = false where email = 'cccc@example.com'")
    await request_key(
        pool, rules("open"), read_address("bbbb@example.com", "email"), client="192.0.2.1", request_id="b"
    )
    await pool.execute("delete from kaixu.key_request")


ADDRESSES = [f"{name}@example.com" for name in ("dddd", "aaaa", "bbbb", "cccc")]


async def attempt(pool: asyncpg.Pool, mode: str, email: str) -> tuple[Any, Any, Any, Any, Any]:
    """The answer, the statements, the work in the database, the rows that are new; on tables without requests."""
    watched = Watched(pool)
    with pytest.raises(KaixuError) as caught:
        await request_key(
            watched,  # type: ignore[arg-type]
            rules(mode),
            read_address(email, "email"),
            client="192.0.2.1",
            request_id=f"for {email}",
        )
    error = caught.value
    answer = (type(error), error.status, error.code, error.message, error.hint, error.retry_after_s)
    requests = await pool.fetch(
        """
        select state, recipient = address as is_for_the_typed, cardinality(spellings) as spellings, customer_id, key_id,
               token_hash is not null as has_token
          from kaixu.key_request
        """
    )
    mails = await pool.fetch(
        "select kind, subject, customer_id, length(sealed) as bytes, recipient = $1 as to_it from kaixu.mail", email
    )
    audit = await pool.fetch(
        "select actor, action, meta - 'network' as meta from kaixu.audit_event where request_id = $1", f"for {email}"
    )
    await pool.execute("delete from kaixu.key_request")
    await pool.execute("delete from kaixu.mail")
    rows = [[dict(row) for row in table] for table in (requests, mails, audit)]
    return answer, watched.statements, watched.work, rows, error.figures


@pytest.mark.parametrize("mode", ["email", "approval"])
async def test_nothing_tells_whether_an_address_is_known(pool: asyncpg.Pool, mode: str) -> None:
    await known_addresses(pool)
    await attempt(pool, mode, "eeee@example.com")  # the first one of a connection looks up types and plans
    results = [await attempt(pool, mode, email) for email in ADDRESSES]
    answer, statements, work, rows, _ = results[0]
    assert len(statements) > 3
    touched = {*work}
    assert "key_request" in touched
    assert not touched & {"customer", "virtual_key", "selfservice_account"}
    assert rows[0]
    for other in results[1:]:
        assert other[0] == answer
        assert other[1] == statements
        assert other[2] == work
        assert other[3] == rows


@pytest.mark.parametrize("mode", ["email", "approval"])
async def test_the_limit_of_an_address_tells_nothing_either(pool: asyncpg.Pool, mode: str) -> None:
    await known_addresses(pool)
    for email in ADDRESSES:
        codes = []
        for n in range(7):
            with pytest.raises(KaixuError) as caught:
                await request_key(
                    pool, rules(mode), read_address(email, "email"), client=f"192.0.2.{n}", request_id="r"
                )
            codes.append(caught.value.code)
        expected = "KEY_LINK_SENT" if mode == "email" else "KEY_REQUEST_HELD"
        assert codes == [expected] * 5 + ["RATE_LIMITED"] * 2, email
