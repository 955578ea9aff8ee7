-- expire: settle the calls of a dead gateway.
--
-- p_charge false: the hold is released and the event costs nothing; true: the whole hold is charged. The event's end is
-- 'lost' in both cases, and a late settlement still replaces it. An operation 'job:…' runs again: its hold is released,
-- and no event is written.
-- A hold that lasts longer than any can (gateway.reservation_s is at most an hour) was written before the clock was set
-- back: it has expired, too. If its call still runs, its settlement replaces the event.
-- Returns the tickets that it ended, with what was charged. At most p_most_calls at a time.
-- Lock: the customers' rows, ascending by id; reservations only under it. Locked customers are skipped: their calls
-- expire the next time.
create or replace function kaixu.expire(p_charge boolean, p_most_calls integer)
returns table (
    ticket      uuid,
    customer_id bigint,
    key_id      bigint,
    request_id  text,
    provider    text,
    model       text,
    held_nusd   bigint,
    cost_nusd   bigint
)
language plpgsql as $$
#variable_conflict use_column
declare
    v_tickets   uuid[];
    v_customers bigint[];
    v_longest   constant interval := '61 minutes';
begin
    select array_agg(x.ticket) into v_tickets
      from (select r.ticket from kaixu.reservation r
             where r.expires_at not between clock_timestamp() and clock_timestamp() + v_longest order by r.expires_at limit p_most_calls) x;
    if v_tickets is null then
        return;
    end if;

    select array_agg(x.id) into v_customers
      from (select c.id
              from kaixu.customer c
             where c.id in (select r.customer_id from kaixu.reservation r where r.ticket = any (v_tickets))
             order by c.id
               for no key update skip locked) x;

    return query
    with ended as (
        -- Checked again under the lock: it may have been renewed or settled meanwhile.
        delete from kaixu.reservation r
         where r.ticket = any (v_tickets) and r.customer_id = any (v_customers)
           and r.expires_at not between clock_timestamp() and clock_timestamp() + v_longest
        returning r.*
    ), written as (
        insert into kaixu.usage_event (ticket, month, customer_id, key_id, chain_id, book, operation, provider, model,
                                       price_id, cost_nusd, usage_source, end_reason, install_id, request_id, admitted_at,
                                       granted_nusd, app_id, build_id, end_user, rolled_up)
        select x.ticket, x.month, x.customer_id, x.key_id, x.chain_id, x.book, x.operation, x.provider, x.model,
               x.price_id, case when p_charge then x.held_nusd else 0 end, 'estimated', 'lost', x.install_id,
               x.request_id, x.created_at, case when x.granted_nusd is null then x.held_nusd end, x.app_id,
               x.build_id, x.end_user, true
          from ended x
         where x.operation not like 'job:%'
        on conflict (month, ticket) do nothing
        returning ticket, cost_nusd
    ), changes as (
        insert into kaixu.usage_change
               (bucket, customer_id, chain_id, provider, model, book, calls, errors, input_tokens, output_tokens,
                cached_input_tokens, cache_write_tokens, reasoning_tokens, spent_nusd, vendor_cost_nusd, uncosted_nusd)
        select kaixu.usage_bucket(x.created_at, x.month), x.customer_id, x.chain_id, x.provider, x.model, x.book, 1, 1, 0, 0,
               0, 0, 0, w.cost_nusd, 0, 0
          from written w
          join ended x on x.ticket = w.ticket
    ), apps as (
        insert into kaixu.app_month as m (customer_id, month, app_id, book, calls, spent_nusd)
        select x.customer_id, x.month, x.app_id, x.book, count(*), sum(w.cost_nusd)
          from written w
          join ended x on x.ticket = w.ticket
         where x.app_id is not null
         group by x.customer_id, x.month, x.app_id, x.book
        on conflict (customer_id, month, app_id, book) do update
           set calls = m.calls + excluded.calls, spent_nusd = m.spent_nusd + excluded.spent_nusd
    ), limits as (
        -- A lost call has no tokens; its settlement adds them.
        update kaixu.limit_use u
           set day_spent_nusd = u.day_spent_nusd + kaixu.sum_on_day(s.admitted, s.cost_nusd, u.day)
          from (select x.customer_id, n.subject, array_agg(x.created_at) as admitted, array_agg(w.cost_nusd) as cost_nusd
                  from written w
                  join ended x on x.ticket = w.ticket
                  join kaixu.virtual_key k on k.id = x.key_id
                 cross join lateral unnest(kaixu.limit_subjects(x.chain_id, k.group_id, x.provider, x.model)) n (subject)
                 where x.is_limited and w.cost_nusd <> 0
                   and (x.book = 'ai' or not kaixu.book_has_own_cap(
                            p_customer_id => x.customer_id, p_month => x.month, p_book => x.book))
                 group by x.customer_id, n.subject) s
         where u.customer_id = s.customer_id and u.subject = s.subject
    ), users as (
        update kaixu.end_user_month m
           set held_nusd = m.held_nusd - s.held_nusd, spent_nusd = m.spent_nusd + s.cost_nusd, calls = m.calls + s.calls
          from (select x.customer_id, x.month, x.end_user, sum(x.held_nusd) as held_nusd,
                       coalesce(sum(w.cost_nusd), 0) as cost_nusd, count(w.ticket) as calls
                  from ended x left join written w on w.ticket = x.ticket
                 where x.end_user is not null group by 1, 2, 3) s
         where m.customer_id = s.customer_id and m.month = s.month and m.end_user = s.end_user
    ), customers as (
        update kaixu.customer_month m
           set held_nusd = m.held_nusd - s.held_nusd, spent_nusd = m.spent_nusd + s.cost_nusd,
               calls = m.calls + s.calls, updated_at = now()
          from (select x.customer_id, x.month, x.book, sum(x.held_nusd) as held_nusd,
                       coalesce(sum(w.cost_nusd), 0) as cost_nusd, count(w.ticket) as calls
                  from ended x left join written w on w.ticket = x.ticket group by 1, 2, 3) s
         where m.customer_id = s.customer_id and m.month = s.month and m.book = s.book
    ), keys as (
        update kaixu.key_month m
           set held_nusd = m.held_nusd - s.held_nusd, spent_nusd = m.spent_nusd + s.cost_nusd,
               calls = m.calls + s.calls, updated_at = now()
          from (select x.chain_id, x.month, x.book, sum(x.held_nusd) as held_nusd,
                       coalesce(sum(w.cost_nusd), 0) as cost_nusd, count(w.ticket) as calls
                  from ended x left join written w on w.ticket = x.ticket group by 1, 2, 3) s
         where m.chain_id = s.chain_id and m.month = s.month and m.book = s.book
    )
    select x.ticket, x.customer_id, x.key_id, x.request_id, x.provider, x.model, x.held_nusd,
           coalesce(w.cost_nusd, 0)
      from ended x
      left join written w on w.ticket = x.ticket
     where x.operation not like 'job:%';
end
$$;
