"""The window of a minute's tokens as a property: whatever is added when, it holds what the last 60 seconds have had."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import with_database
from tests.support.size import examples

#: Slots of the ring: one more than the seconds of a minute, so that no 60 seconds hold more than the limit.
SLOTS = 61

#: Seconds that pass, and tokens of a call that was admitted some seconds before it is settled.
CALLS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 70), st.integers(0, 10**9)), max_size=30)


async def story(dsn: str, began_at: int, calls: list[tuple[int, int, int]], need: int, limit: int) -> None:
    """Settle calls one after another, and compare the ring with the list of all of them."""
    connection = await asyncpg.connect(dsn)
    try:
        now, newest, ring = began_at, began_at, None
        admitted: Counter[int] = Counter()
        for passed, ago, tokens in calls:
            now += passed
            admitted[now - ago] += tokens
            ring = await connection.fetchval(
                """
                select kaixu.add_tokens(
                    p_counts => kaixu.token_window(p_counts => $1, p_newest => $2, p_now => $3), p_now => $3,
                    p_seconds => array[$4::bigint], p_tokens => array[$5::bigint])
                """,
                ring,
                newest,
                now,
                now - ago,
                tokens,
            )
            newest = now
            assert {second: ring[second % SLOTS] for second in range(now - SLOTS + 1, now + 1)} == {
                second: admitted[second] for second in range(now - SLOTS + 1, now + 1)
            }
        if ring is None:
            return
        frees_in = await connection.fetchval(
            "select kaixu.tokens_free_in(p_counts => $1, p_newest => $2, p_limit => $3, p_need => $4)",
            ring,
            newest,
            limit,
            need,
        )
        enough = (
            after
            for after in range(1, SLOTS + 1)
            if sum(admitted[second] for second in range(now + after - SLOTS + 1, now + 1)) + need <= limit
        )
        assert frees_in == (None if need > limit else next(enough))
    finally:
        await connection.close()


@given(began_at=st.integers(10**9, 10**9 + 100), calls=CALLS, need=st.integers(0, 10**9), limit=st.integers(0, 10**9))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_window_holds_what_the_last_minute_has_had_and_says_when_there_is_room(
    server_dsn: str, template: str, began_at: int, calls: list[tuple[int, int, int]], need: int, limit: int
) -> None:
    asyncio.run(story(with_database(server_dsn, template), began_at, calls, need, limit))
