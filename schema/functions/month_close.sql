-- month_close: whether a customer's month can be billed.
--
-- Returns 'open': the month is not over; 'waiting': a call of the month still runs, or may still be settled late, and the
-- month ended less than p_lost_wait_h hours ago; 'ready'. With the calls that it waits for.
-- Lock: none. What is settled after the answer is a correction on the next invoice.
create or replace function kaixu.month_close(p_customer_id bigint, p_month date, p_lost_wait_h integer)
returns table (state text, open_calls bigint, lost_calls bigint)
language sql stable as $$
    with waiting as (
        select (select count(*) from kaixu.reservation r
                 where r.customer_id = p_customer_id and r.month = p_month) as open_calls,
               (select count(*) from kaixu.usage_event e
                 where e.customer_id = p_customer_id and e.month = p_month and e.end_reason = 'lost') as lost_calls,
               (p_month + interval '1 month') at time zone 'UTC' as ended_at
    )
    select case
               when now() < w.ended_at then 'open'
               when w.open_calls + w.lost_calls > 0 and now() < w.ended_at + make_interval(hours => p_lost_wait_h) then 'waiting'
               else 'ready'
           end, w.open_calls, w.lost_calls
      from waiting w
$$;
