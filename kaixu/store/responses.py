"""Cached answers, by customer and hash of the request (the column `question`)."""

from __future__ import annotations

import asyncpg

from .pool import database

#: The most of one customer; the oldest are removed first.
MOST_OF_A_CUSTOMER = 10_000

#: Rows removed in one statement.
ROWS_AT_ONCE = 5_000


async def find_response(pool: asyncpg.Pool, *, customer_id: int, request_hash: bytes) -> bytes | None:
    """The sealed answer to a request of this customer, until it expires. Raises `DatabaseAway`."""
    with database():
        answer: bytes | None = await pool.fetchval(
            """
            select answer from kaixu.response
             where customer_id = $1 and question = $2
               and expires_at > clock_timestamp()
               and created_at <= clock_timestamp() -- else it was stored before the clock was set back
            """,
            customer_id,
            request_hash,
        )
    return answer


async def store_response(
    pool: asyncpg.Pool, *, customer_id: int, request_hash: bytes, answer: bytes, seconds: float
) -> None:
    """Store an answer; a newer one replaces it. Raises `DatabaseAway`."""
    with database():
        await pool.execute(
            """
            insert into kaixu.response as r (customer_id, question, answer, expires_at)
            values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
            on conflict (customer_id, question) do update
               set answer = excluded.answer, created_at = now(), expires_at = excluded.expires_at
            """,
            customer_id,
            request_hash,
            answer,
            seconds,
        )


async def prune_responses(pool: asyncpg.Pool) -> int:
    """Remove expired answers, and a customer's oldest where it has too many; return how many. Raises `DatabaseAway`."""
    removed = 0
    with database():
        for statement, argument in ((EXPIRED, None), (TOO_MANY, MOST_OF_A_CUSTOMER)):
            while True:
                arguments = [ROWS_AT_ONCE] if argument is None else [ROWS_AT_ONCE, argument]
                gone = int((await pool.execute(statement, *arguments)).split()[-1])
                removed += gone
                if gone < ROWS_AT_ONCE:
                    break
    return removed


EXPIRED = """
    delete from kaixu.response r
     using (select customer_id, question from kaixu.response
             where expires_at <= now() or created_at > now() limit $1) s
     where r.customer_id = s.customer_id and r.question = s.question
       and (r.expires_at <= now() or r.created_at > now())
"""

TOO_MANY = """
    delete from kaixu.response r
     using (select c.customer_id, c.question
              from (select customer_id, question,
                           row_number() over (partition by customer_id order by created_at desc) as newer
                      from kaixu.response) c
             where c.newer > $2
             limit $1) s
     where r.customer_id = s.customer_id and r.question = s.question
"""
