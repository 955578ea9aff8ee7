"""A customer's calls of this month, moved into the month before: for tests of the end of a month."""

from __future__ import annotations

import asyncpg

from .blocking import run
from .gateway import Gateway

#: The roll-ups are corrected as a settlement corrects them: the old figures negated, and the new ones.
ROLLUPS = """
    insert into kaixu.usage_change
           (bucket, customer_id, chain_id, provider, model, deployment, book, calls, errors, input_tokens, output_tokens,
            cached_input_tokens, cache_write_tokens, reasoning_tokens, spent_nusd, vendor_cost_nusd, uncosted_nusd,
            latency_class)
    select kaixu.usage_bucket(e.admitted_at - x.back, (e.month - x.back)::date), e.customer_id, e.chain_id, e.provider,
           e.model, coalesce(e.units #>> '{call,deployment}', ''), e.book, x.sign,
           x.sign * (e.end_reason <> 'complete')::integer, x.sign * e.input_tokens, x.sign * e.output_tokens,
           x.sign * e.cached_input_tokens, x.sign * e.cache_write_tokens, x.sign * e.reasoning_tokens,
           x.sign * e.cost_nusd, x.sign * e.vendor_cost_nusd,
           x.sign * case when e.vendor_cost_known then 0 else e.cost_nusd end,
           case when e.end_reason <> 'lost' then kaixu.latency_class(e.duration_ms) end
      from kaixu.usage_event e
     cross join (values (interval '0', -1), (interval '1 month', 1)) x (back, sign)
     where e.customer_id = $1
"""
EVENTS = """
    update kaixu.usage_event
       set month = (month - interval '1 month')::date, admitted_at = admitted_at - interval '1 month',
           created_at = created_at - interval '1 month'
     where customer_id = $1
"""
TOP_UPS = """
    update kaixu.topup
       set month = (month - interval '1 month')::date, created_at = created_at - interval '1 month'
     where customer_id = $1
"""
MONTH = "update kaixu.{table} set month = (month - interval '1 month')::date where customer_id = $1"
MONTHS = tuple(
    MONTH.format(table=table) for table in ("customer_month", "key_month", "app_month", "end_user_month")
)  # fmt: skip


def move_a_month_back(gateway: Gateway, customer_id: int) -> None:
    """Let a customer that came this month have made its calls and top-ups in the month before."""

    async def move() -> None:
        connection = await asyncpg.connect(gateway.dsn)
        try:
            async with connection.transaction():
                for statement in (ROLLUPS, EVENTS, TOP_UPS, *MONTHS):
                    await connection.execute(statement, customer_id)
        finally:
            await connection.close()

    run(move())
