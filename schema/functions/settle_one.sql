-- settle_one: settle one call; what settle_v2 does for a group of one, at a third of its cost.
--
-- The usual case is decided here, statement by statement: the call has its reservation, costs at most what that holds,
-- has no event yet, and the customer has neither limits nor watched balances. Every other case is handed to settle_v2,
-- before anything is written. Arguments and columns: see settle_v2.
-- Lock: takes the customer's row; all else only under it. Commits durably.
create or replace function kaixu.settle_one(
    p_ticket                uuid,
    p_customer_id           bigint,
    p_key_id                bigint,
    p_chain_id              bigint,
    p_month                 date,
    p_book                  text,
    p_operation             text,
    p_provider              text,
    p_model                 text,
    p_price_id              bigint,
    p_install_id            text,
    p_request_id            text,
    p_admitted_at           timestamptz,
    p_duration_ms           integer,
    p_end_reason            text,
    p_usage_source          text,
    p_cost_nusd             bigint,
    p_vendor_cost_nusd      bigint,
    p_input_tokens          bigint,
    p_output_tokens         bigint,
    p_cached_input_tokens   bigint,
    p_cache_write_tokens    bigint,
    p_reasoning_tokens      bigint,
    p_units                 jsonb,
    p_app_id                text,
    p_build_id              text,
    p_end_user              text
) returns table (
    ticket              uuid,
    first_time          boolean,
    month               date,
    customer_cap_nusd   bigint,
    customer_spent_nusd bigint,
    customer_held_nusd  bigint,
    key_cap_nusd        bigint,
    key_spent_nusd      bigint,
    key_held_nusd       bigint
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    v_cap_nusd      bigint;
    v_is_plain      boolean;    -- the customer has no limits, and no watched balance
    v_held_nusd     bigint;
    v_granted_nusd  bigint;
    v_is_settled    boolean := false;   -- the usual case, of which the reservation is gone by now
    v_vendor_nusd   bigint := coalesce(p_vendor_cost_nusd, 0);
    v_uncosted_nusd bigint := case when p_vendor_cost_nusd is null then p_cost_nusd else 0 end;
begin
    select c.monthly_cap_nusd, not (c.has_limits or c.is_watched)
      into v_cap_nusd, v_is_plain
      from kaixu.customer c
     where c.id = p_customer_id
       for no key update;

    if v_is_plain and p_book = 'ai' and p_end_reason <> 'released' and p_end_reason <> 'lost'
            and p_month >= date_trunc('month', now() at time zone 'UTC') then
        delete from kaixu.reservation r
         where r.ticket = p_ticket and r.held_nusd >= p_cost_nusd and r.end_user is not distinct from p_end_user
           and not exists (select from kaixu.usage_event e where e.month = p_month and e.ticket = p_ticket)
        returning r.held_nusd, coalesce(r.granted_nusd, r.held_nusd) into v_held_nusd, v_granted_nusd;
        v_is_settled := found;
    end if;

    if not v_is_settled then
        return query
        select s.ticket, s.first_time, s.month, s.customer_cap_nusd, s.customer_spent_nusd, s.customer_held_nusd,
               s.key_cap_nusd, s.key_spent_nusd, s.key_held_nusd
          from kaixu.settle_v2(
                   p_ticket => array[p_ticket], p_customer_id => array[p_customer_id], p_key_id => array[p_key_id],
                   p_chain_id => array[p_chain_id], p_month => array[p_month], p_book => array[p_book],
                   p_operation => array[p_operation], p_provider => array[p_provider], p_model => array[p_model],
                   p_price_id => array[p_price_id], p_install_id => array[p_install_id],
                   p_request_id => array[p_request_id], p_admitted_at => array[p_admitted_at],
                   p_duration_ms => array[p_duration_ms], p_end_reason => array[p_end_reason],
                   p_usage_source => array[p_usage_source], p_cost_nusd => array[p_cost_nusd],
                   p_vendor_cost_nusd => array[p_vendor_cost_nusd], p_input_tokens => array[p_input_tokens],
                   p_output_tokens => array[p_output_tokens], p_cached_input_tokens => array[p_cached_input_tokens],
                   p_cache_write_tokens => array[p_cache_write_tokens],
                   p_reasoning_tokens => array[p_reasoning_tokens], p_units => array[p_units],
                   p_app_id => array[p_app_id], p_build_id => array[p_build_id], p_end_user => array[p_end_user]) s;
        return;
    end if;

    insert into kaixu.usage_event
           (ticket, month, customer_id, key_id, chain_id, book, operation, provider, model, price_id, cost_nusd,
            vendor_cost_nusd, vendor_cost_known, input_tokens, output_tokens, cached_input_tokens,
            cache_write_tokens, reasoning_tokens, units, usage_source, end_reason, install_id, request_id,
            admitted_at, duration_ms, granted_nusd, app_id, build_id, end_user, rolled_up)
    values (p_ticket, p_month, p_customer_id, p_key_id, p_chain_id, p_book, p_operation, p_provider, p_model,
            p_price_id, p_cost_nusd, v_vendor_nusd, p_vendor_cost_nusd is not null, p_input_tokens,
            p_output_tokens, p_cached_input_tokens, p_cache_write_tokens, p_reasoning_tokens, p_units,
            p_usage_source, p_end_reason, p_install_id, p_request_id, p_admitted_at, p_duration_ms,
            v_granted_nusd, p_app_id, p_build_id, p_end_user, true);

    insert into kaixu.usage_change
           (bucket, customer_id, chain_id, provider, model, deployment, book, calls, errors, input_tokens, output_tokens,
            cached_input_tokens, cache_write_tokens, reasoning_tokens, spent_nusd, vendor_cost_nusd, uncosted_nusd,
            latency_class)
    values (kaixu.usage_bucket(p_admitted_at, p_month), p_customer_id, p_chain_id, p_provider, p_model,
            coalesce(p_units #>> '{call,deployment}', ''), p_book, 1, (p_end_reason <> 'complete')::integer, p_input_tokens,
            p_output_tokens, p_cached_input_tokens, p_cache_write_tokens, p_reasoning_tokens, p_cost_nusd, v_vendor_nusd,
            v_uncosted_nusd, kaixu.latency_class(p_duration_ms));

    if p_app_id is not null then
        insert into kaixu.app_month as m
               (customer_id, month, app_id, book, calls, input_tokens, output_tokens, spent_nusd, vendor_cost_nusd,
                uncosted_nusd)
        values (p_customer_id, p_month, p_app_id, p_book, 1, p_input_tokens, p_output_tokens, p_cost_nusd, v_vendor_nusd,
                v_uncosted_nusd)
        on conflict (customer_id, month, app_id, book) do update
           set calls = m.calls + 1, input_tokens = m.input_tokens + excluded.input_tokens,
               output_tokens = m.output_tokens + excluded.output_tokens, spent_nusd = m.spent_nusd + excluded.spent_nusd,
               vendor_cost_nusd = m.vendor_cost_nusd + excluded.vendor_cost_nusd,
               uncosted_nusd = m.uncosted_nusd + excluded.uncosted_nusd;
    end if;
    if p_end_user is not null then
        insert into kaixu.end_user_month as m (customer_id, month, end_user, calls, input_tokens, output_tokens, spent_nusd)
        values (p_customer_id, p_month, p_end_user, 1, p_input_tokens, p_output_tokens, p_cost_nusd)
        on conflict (customer_id, month, end_user) do update
           set calls = m.calls + 1, input_tokens = m.input_tokens + excluded.input_tokens,
               output_tokens = m.output_tokens + excluded.output_tokens, spent_nusd = m.spent_nusd + excluded.spent_nusd,
               held_nusd = m.held_nusd - v_held_nusd;
    end if;

    update kaixu.customer_month m
       set spent_nusd = m.spent_nusd + p_cost_nusd, held_nusd = m.held_nusd - v_held_nusd,
           vendor_cost_nusd = m.vendor_cost_nusd + v_vendor_nusd, uncosted_nusd = m.uncosted_nusd + v_uncosted_nusd,
           calls = m.calls + 1, input_tokens = m.input_tokens + p_input_tokens,
           output_tokens = m.output_tokens + p_output_tokens, updated_at = now()
     where m.customer_id = p_customer_id and m.month = p_month and m.book = p_book;
    if not found then
        insert into kaixu.customer_month
               (customer_id, month, book, spent_nusd, vendor_cost_nusd, uncosted_nusd, calls, input_tokens, output_tokens)
        values (p_customer_id, p_month, p_book, p_cost_nusd, v_vendor_nusd, v_uncosted_nusd, 1, p_input_tokens,
                p_output_tokens);
    end if;
    update kaixu.key_month m
       set spent_nusd = m.spent_nusd + p_cost_nusd, held_nusd = m.held_nusd - v_held_nusd,
           vendor_cost_nusd = m.vendor_cost_nusd + v_vendor_nusd, uncosted_nusd = m.uncosted_nusd + v_uncosted_nusd,
           calls = m.calls + 1, input_tokens = m.input_tokens + p_input_tokens,
           output_tokens = m.output_tokens + p_output_tokens, updated_at = now()
     where m.chain_id = p_chain_id and m.month = p_month and m.book = p_book;
    if not found then
        insert into kaixu.key_month
               (chain_id, month, book, customer_id, spent_nusd, vendor_cost_nusd, uncosted_nusd, calls, input_tokens,
                output_tokens)
        values (p_chain_id, p_month, p_book, p_customer_id, p_cost_nusd, v_vendor_nusd, v_uncosted_nusd, 1, p_input_tokens,
                p_output_tokens);
    end if;

    return query
    select p_ticket, true, p_month, (v_cap_nusd + cm.extra_nusd)::bigint, cm.spent_nusd::bigint, cm.held_nusd::bigint,
           k.monthly_cap_nusd, km.spent_nusd::bigint, km.held_nusd::bigint
      from kaixu.virtual_key k
     cross join (select sum(m.extra_nusd) as extra_nusd, sum(m.spent_nusd) as spent_nusd, sum(m.held_nusd) as held_nusd
                   from kaixu.customer_month m
                  where m.customer_id = p_customer_id and m.month = p_month and not m.has_own_cap) cm
     cross join (select sum(m.spent_nusd) as spent_nusd, sum(m.held_nusd) as held_nusd
                   from kaixu.key_month m
                  where m.chain_id = p_chain_id and m.month = p_month and not m.has_own_cap) km
     where k.id = p_key_id;
end
$$;
