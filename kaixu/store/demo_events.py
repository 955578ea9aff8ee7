"""The usage events and refusals of one month of demo data, and the monitor's events, as one statement each."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from .demo import MODELS, Demo
from .query import Connection

#: A monitor event for so many of all calls, in the last days; a refused call for so many.
CALLS_PER_MONITOR_EVENT = 25
MONITOR_DAYS = 30
CALLS_PER_REFUSAL = 40

#: Properties of events have 10 to 40 as `p_what`. Calls are spread over the month, with most of them at midday; a
#: customer's number is distributed like Zipf's, among those that the month has.
#: $1 seed, $2 first customer, $3 first key, $4 customers of this month, $5 and $6 first and last number of its events,
#: $7 and $8 its start and end, $9 the month, $10 which month of the history, $11 to $21 the models.
EVENTS = """
    insert into kaixu.usage_event
           (ticket, month, customer_id, key_id, chain_id, book, operation, provider, model, price_id, cost_nusd,
            vendor_cost_nusd, vendor_cost_known, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens,
            reasoning_tokens, units, usage_source, end_reason, install_id, request_id, admitted_at, duration_ms,
            created_at, granted_nusd, app_id, build_id, end_user, rolled_up)
    select (lpad(to_hex((extract(epoch from t.at) * 1000)::bigint), 12, '0') || '7'
               || substr(md5($1 || ' ' || n), 1, 3) || '8' || substr(md5($1 || ' ' || n), 4, 15))::uuid,
           $9, $2 + c.i - 1, $3 + 3 * (c.i - 1) + k.key - 1, $3 + 3 * (c.i - 1) + k.chain - 1, 'ai', m.operation,
           m.provider, m.model, m.price_id, p.cost_nusd, coalesce(p.vendor_nusd, 0), m.vendor_input is not null,
           w.input, w.output, w.cached, 0, 0,
           jsonb_build_object('call', jsonb_build_object('tries', 1, 'deployment', m.deployment))
               || case when m.operation = 'embed' then jsonb_build_object('vectors', 1 + w.input / 200) else '{}' end,
           case when s.counted < 0.03 then 'counted' else 'provider' end,
           case when s.ending < 0.015 then 'client_gone' when s.ending < 0.025 then 'upstream_error'
                when s.ending < 0.03 then 'budget_cut' else 'complete' end,
           case when r.has_device then 'demo-device-' || ($3 + 3 * (c.i - 1) + k.chain - 1) end,
           'demo-' || $1 || '-' || n, greatest(t.at - d.ms * interval '1 ms', $7), d.ms, t.at, p.cost_nusd + 1000000,
           case when s.app < 0.8 then 'app-' || (1 + floor(s.app * s.app * 15))::integer end,
           case when s.app < 0.8 then 'build-' || (100 + $10) end,
           case when s.has_user < 0.3 then 'user-' || floor(exp(s.which_user * 5))::integer end,
           true
      from generate_series($5::bigint, $6::bigint) n
     cross join lateral (select
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 10) as customer,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 11) as key,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 12) as model,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 13) as counted,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 14) as ending,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 15) as app,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 16) as has_user,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 17) as which_user,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 18) as input,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 19) as output,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 20) as cached,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 21) as ms_1,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 22) as ms_2,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 23) as ms_3) s
     cross join lateral (select (n - $5 + 0.5)::float8 / ($6 - $5 + 1)
                                * extract(epoch from $8::timestamptz - $7::timestamptz)::float8 / 86400 as days) z
     cross join lateral (select floor(z.days) as day, z.days - floor(z.days) as part) y
     cross join lateral (select $7::timestamptz + interval '1 day' * (y.day
                + least(greatest(y.part + 0.7 * sin(6.283185307 * y.part) / 6.283185307, 0), 0.999999)) as at) u
     cross join lateral (select least(u.at, $8::timestamptz - interval '1 second') as at) t  -- its settlement
     cross join lateral (select exp(s.customer * ln($4::bigint + 1)::float8) as zipf) f
     cross join lateral (select least($4, floor(f.zipf)::bigint) as i) c
     cross join lateral (select
               1 + floor(3 * kaixu.demo_share(p_seed => $1, p_row => c.i, p_what => 1))::integer as keys,
               kaixu.demo_share(p_seed => $1, p_row => c.i, p_what => 2) < 0.3 as may_be_rotated,
               kaixu.demo_share(p_seed => $1, p_row => c.i, p_what => 4) < 0.1 as has_device) r
     cross join lateral (select 1 + floor(r.keys * s.key)::integer as key) j
     cross join lateral (select case when j.key > 1 and r.keys = 3 and r.may_be_rotated
                                     then case when $10 < 6 then 2 else 3 end else j.key end as key,
                                case when j.key = 3 and r.may_be_rotated then 2 else j.key end as chain) k
      join unnest($11::text[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::float8[], $17::float8[],
                  $18::bigint[], $19::bigint[], $20::integer[], $21::bigint[], $22::bigint[])
           m (provider, model, deployment, operation, price_id, low, high, input, output, median_ms, vendor_input,
              vendor_output) on true
     cross join lateral (select 20 + floor(exp(s.input * 8.3))::bigint as input,
                                case when m.output = 0 then 0
                                     else floor(exp(s.output * 7.3))::bigint end as output,
                                s.cached as cached_share) q
     cross join lateral (select q.input, q.output,
                                case when q.cached_share < 0.2 then q.input / 2 else 0 end as cached) w
     cross join lateral (select ((w.input - w.cached) * m.input + w.cached * (m.input / 2) + w.output * m.output
                                 + 500000) / 1000000 as cost_nusd,
                                ((w.input - w.cached) * m.vendor_input + w.cached * (m.vendor_input / 2)
                                 + w.output * m.vendor_output + 500000) / 1000000 as vendor_nusd) p
     cross join lateral (select (m.median_ms * exp((s.ms_1 + s.ms_2
                                 + s.ms_3 - 1.5) * 1.4))::integer as ms) d
     where s.model >= m.low and s.model < m.high
     order by n
"""

MONITOR = """
    insert into kaixu.gateway_event
           (request_id, level, kind, function_name, method, path, customer_id, key_id, provider, model, app_id,
            http_status, duration_ms, error_code, error_message, upstream_status, extra, created_at)
    select 'demo-' || $1 || '-m' || n,
           case when x.kind in ('error') then 'error' when x.kind in ('audit', 'info') then 'info' else 'warn' end,
           x.kind, 'gateway-chat', 'POST', '/api/gateway-chat', $2 + c.i - 1, $3 + 3 * (c.i - 1), 'demo-openai',
           'gpt-4o-mini', 'app-' || (1 + n % 10),
           case x.kind when 'error' then 502 when 'rate_limited' then 429 when 'blocked' then 403 else 200 end,
           (20 + 20000 * kaixu.demo_share(p_seed => $1, p_row => n, p_what => 44))::integer,
           case x.kind when 'error' then 'UPSTREAM_ERROR' when 'rate_limited' then 'RATE_LIMITED'
                when 'blocked' then 'MODEL_NOT_ALLOWED' end,
           case x.kind when 'error' then 'the vendor failed' when 'rate_limited' then 'rate limit reached'
                when 'blocked' then 'the model is not allowed for this key' end,
           case x.kind when 'error' then 500 end, '{"demo": true}',
           $7::timestamptz + (n - $5 + 0.5) / ($6 - $5 + 1) * ($8::timestamptz - $7::timestamptz)
      from generate_series($5::bigint, $6::bigint) n
     cross join lateral (select
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 41) as customer,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 42) as kind) s
     cross join lateral (select exp(s.customer * ln($4::bigint + 1)::float8) as zipf) f
     cross join lateral (select least($4, floor(f.zipf)::bigint) as i) c
     cross join lateral (select (array['error', 'error', 'slow', 'slow', 'slow', 'rate_limited', 'rate_limited',
                                       'blocked', 'client_error', 'info'])
                                [1 + floor(10 * s.kind)::integer] as kind) x
     order by n
"""


#: $1 seed, $2 first customer, $3 first key, $4 customers, $5 and $6 first and last number, $7 and $8 start and end.
REFUSALS = """
    insert into kaixu.refusal_quarter as q (bucket, customer_id, key_id, provider, model, code, calls)
    select date_bin('15 minutes', t.at, '2000-01-01 00:00:00+00'),
           $2 + c.i - 1, $3 + 3 * (c.i - 1), 'demo-openai', 'gpt-4o-mini',
           (array['UPSTREAM_ERROR', 'RATE_LIMITED', 'RATE_LIMITED', 'MODEL_NOT_ALLOWED', 'CAP_REACHED'])
               [1 + floor(5 * s.kind)::integer],
           count(*)
      from generate_series($5::bigint, $6::bigint) n
     cross join lateral (select $7::timestamptz + (n - $5 + 0.5) / ($6 - $5 + 1)
                                * ($8::timestamptz - $7::timestamptz) as at) t
     cross join lateral (select
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 43) as customer,
               kaixu.demo_share(p_seed => $1, p_row => n, p_what => 45) as kind) s
     cross join lateral (select exp(s.customer * ln($4::bigint + 1)::float8) as zipf) f
     cross join lateral (select least($4, floor(f.zipf)::bigint) as i) c
     group by 1, 2, 3, 4, 5, 6
    on conflict (bucket, customer_id, key_id, provider, model, code) do update set calls = q.calls + excluded.calls
"""


async def seed_events(
    db: Connection, demo: Demo, *, month: date, at: int, first: int, last: int, start: datetime, end: datetime
) -> None:
    """The calls of one month: those with the numbers `first` to `last`; `at`: which month of the history."""
    lows, low = [], 0.0
    for model in MODELS:
        lows.append(low)
        low += model.share
    await db.execute(
        EVENTS,
        demo.seed,
        demo.first_customer,
        demo.first_key,
        customers_of_month(demo, at),
        first,
        last,
        start,
        end,
        month,
        at,
        [one.provider for one in MODELS],
        [one.model for one in MODELS],
        [one.deployment for one in MODELS],
        [one.operation for one in MODELS],
        demo.price_ids,
        lows,
        [*lows[1:], 1.0],
        [one.input * 1000 for one in MODELS],
        [one.output * 1000 for one in MODELS],
        [one.median_ms for one in MODELS],
        [None if one.vendor_percent is None else one.input * 10 * one.vendor_percent for one in MODELS],
        [None if one.vendor_percent is None else one.output * 10 * one.vendor_percent for one in MODELS],
    )


async def seed_refusals(
    db: Connection, demo: Demo, *, at: int, first: int, last: int, start: datetime, end: datetime
) -> None:
    """The refused calls of one month, as reports count them: one for so many calls."""
    await db.execute(
        REFUSALS,
        demo.seed,
        demo.first_customer,
        demo.first_key,
        customers_of_month(demo, at),
        first // CALLS_PER_REFUSAL,
        last // CALLS_PER_REFUSAL - 1,
        start,
        end,
    )


async def seed_monitor(db: Connection, demo: Demo) -> None:
    """The events of the monitor, which keeps the last days only."""
    await db.execute(
        MONITOR,
        demo.seed,
        demo.first_customer,
        demo.first_key,
        demo.customers,
        1,
        demo.events // CALLS_PER_MONITOR_EVENT,
        demo.until - timedelta(days=MONITOR_DAYS),
        demo.until,
    )


def customers_of_month(demo: Demo, at: int) -> int:
    """How many customers there are in a month: a third at the beginning, all of them in the last one."""
    return max(1, int(demo.customers * (0.3 + 0.7 * at / 12)))
