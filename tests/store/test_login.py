"""Guessing the operator's password is slow, and locks nobody out who knows it."""

from __future__ import annotations

import asyncio

import asyncpg

from kaixu.store.login import login_attempt, login_succeeded


async def tries(pool: asyncpg.Pool, address: bytes = b"here", *, per_address: int = 3, in_all: int = 5) -> int | None:
    """One try."""
    return await login_attempt(pool, address_hash=address, per_address=per_address, in_all=in_all, window_s=60)


async def test_an_address_has_so_many_tries_in_a_window(pool: asyncpg.Pool) -> None:
    assert [await tries(pool) for _ in range(3)] == [None] * 3
    wait_s = await tries(pool)
    assert wait_s is not None
    assert 55 <= wait_s <= 60
    assert await tries(pool, b"elsewhere") is None


async def test_refused_tries_do_not_make_the_wait_longer(pool: asyncpg.Pool) -> None:
    for _ in range(10):
        await tries(pool)
    await pool.execute(
        "update kaixu.login_try set tried_at = (select array_agg(s - interval '61 s') from unnest(tried_at) s)"
    )
    assert await tries(pool) is None


async def test_everybody_together_has_so_many_tries(pool: asyncpg.Pool) -> None:
    assert [await tries(pool, b"address %d" % number) for number in range(5)] == [None] * 5
    assert await tries(pool, b"another") is not None


async def test_tries_that_come_at_once_are_all_counted(pool: asyncpg.Pool) -> None:
    answers = await asyncio.gather(*(tries(pool) for _ in range(20)))
    assert sum(answer is None for answer in answers) == 3


async def test_tries_from_elsewhere_cannot_lock_out_a_known_address(pool: asyncpg.Pool) -> None:
    await login_succeeded(pool, b"operator")
    for number in range(10):
        await tries(pool, b"stranger %d" % number)
    assert await tries(pool, b"stranger") is not None
    assert await tries(pool, b"operator") is None


async def test_a_success_forgets_the_tries_of_its_address(pool: asyncpg.Pool) -> None:
    for _ in range(3):
        await tries(pool)
    assert await tries(pool) is not None
    await login_succeeded(pool, b"here")
    assert await tries(pool) is None
