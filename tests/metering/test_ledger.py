"""The ledger under failures: locked accounts, full disks, spools of other releases."""

from __future__ import annotations

import asyncio
import fcntl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from kaixu.metering.ledger import Ledger
from kaixu.plugin.errors import DatabaseAway, DatabaseBusy
from kaixu.store import admission
from kaixu.store.admission import Hold, Settlement, Verdict
from kaixu.store.pool import open_pool
from kaixu.store.spool import Spool, line_of, read
from tests.store.test_money_properties import hold_of, make_ask, settlement
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.postgres_proxy import PostgresProxy
from tests.support.rollups import assert_rollups_agree

OWNER = uuid4()


class System:
    """A ledger, and its running calls."""

    def __init__(self, pool: asyncpg.Pool, folder: Path) -> None:
        self.running: list[Hold] = []
        self.ledger = Ledger(
            pool,
            Spool(folder, str(OWNER)),
            owner=OWNER,
            lifetime_s=60,
            default_rpm=10**6,
            calls=self,
        )

    def __len__(self) -> int:
        return len(self.running)

    def holds(self) -> list[Hold]:
        """The holds of the running calls."""
        return self.running

    async def admitted(self, key_id: int, most: int) -> tuple[Any, Verdict]:
        """Admit a call that then runs."""
        call_ask = make_ask(key_id, most, 0)
        verdict = await self.ledger.admit(call_ask)
        assert verdict.refused is None
        self.running.append(msgspec.convert(hold_of(call_ask, verdict), Hold))
        return call_ask, verdict

    async def ended(self, call: tuple[Any, Verdict], cost: int) -> Settlement:
        """Settle a call."""
        made = settlement(*call, cost)
        await self.ledger.settle(made)
        self.running = [hold for hold in self.running if hold.ticket != made.ticket]
        return made


class WatchedPool:
    """A pool that counts the calls in each admission, and lets a test run code before and after holds are restored."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.admitted: list[int] = []
        self.before_restore: Callable[[], Awaitable[object]] | None = None
        self.after_restore: Callable[[], Awaitable[object]] | None = None

    def get_max_size(self) -> int:
        """So few that no connection is kept: all statements come here."""
        return 2

    async def fetch(self, sql: str, *args: Any) -> Any:
        """As the pool does."""
        if "kaixu.admit_v2(" in sql:
            self.admitted.append(len(args[0]))
        elif "kaixu.admit_one(" in sql:
            self.admitted.append(1)
        return await self.pool.fetch(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """As the pool does."""
        if "kaixu.reserve_again_v2(" not in sql:
            return await self.pool.fetchval(sql, *args)
        if self.before_restore is not None:
            await self.before_restore()
        restored = await self.pool.fetchval(sql, *args)
        if self.after_restore is not None:
            await self.after_restore()
        return restored

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)


async def forget_holds(pool: asyncpg.Pool) -> None:
    """Lose all admissions, as a crash of the database does before they are on its disk."""
    await pool.execute("delete from kaixu.reservation")
    await pool.execute("update kaixu.customer_month set held_nusd = 0")
    await pool.execute("update kaixu.key_month set held_nusd = 0")


@pytest.fixture
def system(pool: asyncpg.Pool, tmp_path: Path) -> System:
    """A ledger on the test's database."""
    return System(pool, tmp_path / "spool")


@pytest.fixture
async def locked(pool: asyncpg.Pool, dsn: str) -> AsyncIterator[int]:
    """The key of a customer whose row stays locked."""
    customer_id = await customer(pool, cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("select from kaixu.customer where id = $1 for update", customer_id)
        yield key_id
    await connection.close()


async def test_a_locked_account_does_not_block_other_accounts(system: System, pool: asyncpg.Pool, locked: int) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    answers = [system.ledger.admit(make_ask(locked, 1)), system.ledger.admit(make_ask(key_id, 1))]
    refused, verdict = await asyncio.gather(*answers, return_exceptions=True)
    assert isinstance(refused, DatabaseBusy)
    assert isinstance(verdict, Verdict)
    assert verdict.refused is None
    assert not system.ledger.away


async def test_many_calls_of_a_locked_account_wait_as_one(pool: asyncpg.Pool, locked: int, tmp_path: Path) -> None:
    watched = WatchedPool(pool)
    system = System(cast(asyncpg.Pool, watched), tmp_path / "spool")
    keys = [(await virtual_key(pool, await customer(pool)))[0] for _ in range(2)]
    for _ in range(2):
        asks = [make_ask(locked, 1) for _ in range(40)] + [make_ask(key, 1) for key in keys] + [make_ask(10**6, 1)]
        answers = await asyncio.gather(*map(system.ledger.admit, asks), return_exceptions=True)
        assert {type(one) for one in answers[:40]} == {DatabaseBusy}
        assert [one.refused for one in answers[40:] if isinstance(one, Verdict)] == [None, None, "UNAUTHENTICATED"]
    # Only the first group meets the lock and is sent again without the locked calls; the next group leaves them out.
    assert watched.admitted == [43, 3, 3]


async def test_an_unlocked_account_is_admitted_at_once(
    system: System, pool: asyncpg.Pool, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("select from kaixu.customer where id = $1 for update", customer_id)
        with pytest.raises(DatabaseBusy):
            await system.ledger.admit(make_ask(key_id, 1))
    await connection.close()
    assert (await system.ledger.admit(make_ask(key_id, 1))).refused is None


async def test_a_locked_account_does_not_keep_the_gateway_from_coming_back(
    system: System, pool: asyncpg.Pool, dsn: str
) -> None:
    customers = [await customer(pool, cap_nusd=1000) for _ in range(2)]
    calls = [await system.admitted((await virtual_key(pool, one))[0], 100) for one in customers]
    await forget_holds(pool)
    system.ledger.away = True
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("select from kaixu.customer where id = $1 for update", customers[0])
        assert await system.ledger.resume()
        assert [await spent_and_held(pool, one) for one in customers] == [(0, 0), (0, 100)]
        assert system.ledger.holds_to_restore
    await connection.close()
    await system.ledger.restore_holds()
    assert [await spent_and_held(pool, one) for one in customers] == [(0, 100), (0, 100)]
    assert not system.ledger.holds_to_restore
    for call in calls:
        await system.ended(call, 100)
    await assert_books_balance(pool)


async def test_a_settlement_on_a_connection_that_postgres_has_just_ended_is_written_later(
    pool: asyncpg.Pool, dsn: str, tmp_path: Path
) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    async with PostgresProxy(dsn) as proxy:
        through = await open_pool(proxy.dsn, most=1, least=1)
        system = System(through, tmp_path / "spool")
        call = await system.admitted(key_id, 100)
        await proxy.announce_end()
        assert await system.ledger.settle(settlement(*call, 70)) is None
        system.running = []
        with pytest.raises(DatabaseAway):
            await system.ledger.admit(make_ask(key_id, 1))
        await through.expire_connections()
        through.terminate()
        system.ledger.pool = pool
        system.ledger.general = pool
        assert await system.ledger.resume()
    assert await spent_and_held(pool, customer_id) == (70, 0)
    await assert_books_balance(pool)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("end_reason", ["released", "complete"])
async def test_a_hold_that_is_restored_during_its_settlement_is_released(
    pool: asyncpg.Pool, tmp_path: Path, end_reason: str, when: str
) -> None:
    watched = WatchedPool(pool)
    system = System(cast(asyncpg.Pool, watched), tmp_path / "spool")
    customer_id = await customer(pool, cap_nusd=1000)
    call = await system.admitted((await virtual_key(pool, customer_id))[0], 100)

    async def end() -> None:
        await system.ledger.settle(settlement(*call, 0, end_reason))

    setattr(watched, f"{when}_restore", end)
    await system.ledger.restore_holds()
    system.running = []
    assert await spent_and_held(pool, customer_id) == (0, 0)
    await assert_books_balance(pool)


async def test_holds_that_may_be_lost_are_restored_before_new_calls_are_admitted(
    system: System, pool: asyncpg.Pool
) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    call = await system.admitted(key_id, 800)
    await forget_holds(pool)
    system.ledger.holds_may_be_lost = True
    assert (await system.ledger.admit(make_ask(key_id, 300))).refused == "CAP_REACHED"
    await system.ended(call, 800)
    assert await spent_and_held(pool, customer_id) == (800, 0)
    await assert_books_balance(pool)


async def test_a_locked_account_does_not_delay_the_lost_calls_of_others(pool: asyncpg.Pool, dsn: str) -> None:
    customers = [await customer(pool, cap_nusd=1000) for _ in range(2)]
    for one in customers:
        await admission.admit(
            pool, [make_ask((await virtual_key(pool, one))[0], 100, 0)], owner=OWNER, lifetime_s=60, default_rpm=100
        )
    await pool.execute("update kaixu.reservation set expires_at = now() - interval '1 s'")
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("select from kaixu.customer where id = $1 for update", customers[0])
        assert [lost.customer_id for lost in await admission.expire(pool, charge=False)] == [customers[1]]
    await connection.close()
    assert [lost.customer_id for lost in await admission.expire(pool, charge=False)] == [customers[0]]
    await assert_books_balance(pool)


async def test_a_settlement_of_a_locked_account_waits_in_the_spool_and_the_others_do_not(
    system: System, pool: asyncpg.Pool, dsn: str
) -> None:
    customers = [await customer(pool, cap_nusd=1000) for _ in range(2)]
    calls = [await system.admitted((await virtual_key(pool, one))[0], 100) for one in customers]
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("select from kaixu.customer where id = $1 for update", customers[0])
        settled = await asyncio.gather(*(system.ledger.settle(settlement(*call, 70)) for call in calls))
        assert [one is None for one in settled] == [True, False]
        await system.ledger.replay()  # still locked: it stays in the spool, and is not put aside
        assert system.ledger.waiting
    await connection.close()
    assert not system.ledger.away
    await system.ledger.replay()
    assert not system.ledger.waiting
    assert [await spent_and_held(pool, one) for one in customers] == [(70, 0), (70, 0)]
    await assert_books_balance(pool)


async def test_a_full_disk_loses_nothing(
    system: System, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    call = await system.admitted((await virtual_key(pool, customer_id))[0], 100)

    def full(settlements: list[Settlement]) -> None:
        raise OSError(28, "No space left on device")

    system.ledger.away = True
    monkeypatch.setattr(system.ledger.spool, "append", full)
    made = await system.ended(call, 70)
    assert system.ledger.waiting
    assert system.ledger.unwritten == [made]
    await system.ledger.renew()  # its hold is still kept alive
    assert await system.ledger.resume()
    assert not system.ledger.waiting
    assert await spent_and_held(pool, customer_id) == (70, 0)
    await assert_books_balance(pool)


async def test_settlements_that_can_be_written_nowhere_are_logged(
    system: System, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call = await system.admitted((await virtual_key(pool, await customer(pool)))[0], 100)

    def full(settlements: list[Settlement]) -> None:
        raise OSError(30, "Read-only file system")

    system.ledger.away = True
    monkeypatch.setattr(system.ledger.spool, "append", full)
    made = await system.ended(call, 70)
    await system.ledger.drained()
    assert str(made.ticket) in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelname == "CRITICAL"


async def test_a_standby_in_the_primary_s_place_is_an_outage(
    system: System, pool: asyncpg.Pool, dsn: str, tmp_path: Path
) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    call = await system.admitted((await virtual_key(pool, customer_id))[0], 100)
    name = await pool.fetchval("select current_database()")
    async with pool.acquire() as connection:
        await connection.execute(f'alter database "{name}" set default_transaction_read_only = on')
    standby = await open_pool(dsn)
    system.ledger.pool = standby
    await system.ended(call, 70)
    assert system.ledger.away
    assert await system.ledger.resume() is False
    async with pool.acquire() as connection:
        await connection.execute("set default_transaction_read_only = off")
        await connection.execute(f'alter database "{name}" reset default_transaction_read_only')
    await standby.close()
    system.ledger.pool = pool
    assert await system.ledger.resume()
    assert await spent_and_held(pool, customer_id) == (70, 0)
    assert not (tmp_path / "spool" / "refused").exists()


async def test_spooled_lines_that_cannot_be_read_are_put_aside_and_the_others_written(
    system: System, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    made = settlement(*await system.admitted((await virtual_key(pool, customer_id))[0], 100), 70)
    whole = line_of(made)
    other_edition = b'{"ticket":"of another edition"}'
    foreign = b"%08x %s\n" % (zlib.crc32(other_edition), other_edition)
    (tmp_path / "spool" / "dead.jsonl").write_bytes(foreign + b"00000000 damaged\n" + whole + whole[:40])
    await system.ledger.replay()
    assert await spent_and_held(pool, customer_id) == (70, 0)
    assert not (tmp_path / "spool" / "dead.jsonl").exists()
    assert (tmp_path / "spool" / "refused" / "dead.jsonl").read_bytes() == foreign + b"00000000 damaged\n"


async def test_settlements_that_the_last_release_has_spooled_are_written(
    system: System, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    made = settlement(*await system.admitted((await virtual_key(pool, customer_id))[0], 100), 70)
    newer = {"app_id", "build_id", "end_user"}
    fields = {name: value for name, value in msgspec.to_builtins(made).items() if name not in newer}
    body = msgspec.json.encode(fields)
    (tmp_path / "spool" / "dead.jsonl").write_bytes(b"%08x %s\n" % (zlib.crc32(body), body))
    await system.ledger.replay()
    assert await spent_and_held(pool, customer_id) == (70, 0)
    await assert_rollups_agree(pool)


async def test_tags_survive_the_spool(system: System, pool: asyncpg.Pool, tmp_path: Path) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool, cap_nusd=1000))
    call_ask = make_ask(key_id, 100, 0, app_id="shop", end_user="käthe")
    verdict = await system.ledger.admit(call_ask)
    (tmp_path / "spool" / "dead.jsonl").write_bytes(line_of(settlement(call_ask, verdict, 70)))
    await system.ledger.replay()
    tags = await pool.fetchrow("select app_id, build_id, end_user from kaixu.usage_event")
    assert tags is not None
    assert tuple(tags) == ("shop", None, "käthe")
    await assert_rollups_agree(pool)


def test_a_spool_that_was_taken_while_it_was_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = Spool(tmp_path, "mine"), Spool(tmp_path, "other")
    real = fcntl.flock
    taken: list[bool] = []

    def flock(file: Any, how: int) -> None:
        if not taken and how == fcntl.LOCK_EX:
            taken.append(True)
            for path, held in other.claim_files():  # after our open and before our lock
                other.remove(path, held)
        real(file, how)

    one = settlement(
        make_ask(1, 1),
        Verdict(
            uuid4(), None, None, None, 1, 1, 1, 1, "abcd", date(2026, 1, 1), None, None, None,
            None, None, None, None, None,
        ),
        1,
    )  # fmt: skip
    monkeypatch.setattr(fcntl, "flock", flock)
    mine.append([one])
    assert taken
    assert mine.file is not None
    mine.file.close()
    assert read(mine.path).settlements == [one]


async def test_lost_holds_are_restored_as_far_as_the_caps_allow(system: System, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    first = await system.admitted(key_id, 800)
    # A crash loses the admission; another call uses the room before this is noticed.
    await forget_holds(pool)
    second = await system.admitted(key_id, 900)
    await system.ledger.renew()
    assert system.ledger.holds_may_be_lost
    await system.ledger.restore_holds()
    assert await spent_and_held(pool, customer_id) == (0, 1000)
    await system.ended(first, 800)
    await system.ended(second, 900)
    assert await spent_and_held(pool, customer_id) == (1000, 0)
    await assert_books_balance(pool)


async def test_a_cost_above_its_hold_is_billed_as_far_as_the_key_has_room(system: System, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, cap_nusd=10_000)
    key_id, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=500)
    first, second = await system.admitted(key_id, 100), await system.admitted(key_id, 300)
    await system.ended(first, 10**15)
    assert await spent_and_held(pool, customer_id) == (200, 300)
    await system.ended(second, 300)
    assert await spent_and_held(pool, customer_id) == (500, 0)
    units = await pool.fetchval("select units from kaixu.usage_event where cost_nusd = 200")
    assert units == {"unbilled_nusd": 10**15 - 200}
    await assert_books_balance(pool)


async def test_what_is_free_goes_on_where_a_cap_was_lowered_below_what_is_spent(
    system: System, pool: asyncpg.Pool
) -> None:
    customer_id = await customer(pool, cap_nusd=1000)
    key_id, _ = await virtual_key(pool, customer_id)
    await system.ended(await system.admitted(key_id, 900), 900)
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 500 where id = $1", customer_id)
    _, verdict = await system.admitted(key_id, 0)
    assert verdict.granted_nusd == 0
    assert (await system.ledger.admit(make_ask(key_id, 1))).refused == "CAP_REACHED"


async def test_a_lost_connection_is_reported(dsn: str, pool: asyncpg.Pool) -> None:
    lost = asyncio.Event()
    mine = await open_pool(dsn, most=1, lost=lost.set)
    number = await mine.fetchval("select pg_backend_pid()")
    await pool.execute("select pg_terminate_backend($1)", number)
    await asyncio.wait_for(lost.wait(), 10)
    await mine.close()
