-- import_spend: book what keys have spent this month at another gateway, each key once.
--
-- Parallel arrays, one element a key. Each becomes a usage event in the book 'import' at the beginning of the month, so
-- caps, reports and reconcile have it; invoices leave this book out, for the other gateway has billed it
-- (docs/decisions/0036). The caps of today do not count it, unless today is the first.
-- p_ticket: made from the key's id there, so that a repeated import finds its event. p_price_id: a price of one nano-dollar
-- for each counted 'nanodollar', by which the event can be recomputed.
-- Returns how many events are new.
-- Lock: takes the customers' rows, ascending by id; months only under it.
create or replace function kaixu.import_spend(
    p_ticket        uuid[],
    p_customer_id   bigint[],
    p_key_id        bigint[],
    p_spent_nusd    bigint[],
    p_month         date,
    p_source        text,
    p_price_id      bigint,
    p_request_id    text
) returns integer
language plpgsql as $$
declare
    v_count integer;
begin
    perform 1
       from kaixu.customer c
      where c.id = any (p_customer_id)
      order by c.id
        for no key update;

    with written as (
        insert into kaixu.usage_event
               (ticket, month, customer_id, key_id, chain_id, book, operation, provider, model, price_id, cost_nusd,
                vendor_cost_known, units, usage_source, end_reason, request_id, admitted_at, rolled_up)
        select a.ticket, p_month, a.customer_id, a.key_id, k.chain_id, 'import', 'import', p_source, 'earlier', p_price_id,
               a.spent_nusd, false, jsonb_build_object('nanodollar', a.spent_nusd), 'provider', 'complete', p_request_id,
               p_month::timestamp at time zone 'UTC', true
          from unnest(p_ticket, p_customer_id, p_key_id, p_spent_nusd) a (ticket, customer_id, key_id, spent_nusd)
          join kaixu.virtual_key k on k.id = a.key_id
        on conflict (month, ticket) do nothing
        returning customer_id, chain_id, cost_nusd
    ), changes as (
        insert into kaixu.usage_change
               (bucket, customer_id, chain_id, provider, model, deployment, book, calls, errors, input_tokens, output_tokens,
                cached_input_tokens, cache_write_tokens, reasoning_tokens, spent_nusd, vendor_cost_nusd, uncosted_nusd,
                latency_class)
        select kaixu.usage_bucket(p_admitted_at => p_month::timestamp at time zone 'UTC', p_month => p_month), w.customer_id, w.chain_id, p_source, 'earlier', '', 'import', 1, 0, 0, 0,
               0, 0, 0, w.cost_nusd, 0, w.cost_nusd, kaixu.latency_class(p_ms => 0)
          from written w
    ), customers as (
        insert into kaixu.customer_month as m (customer_id, month, book, spent_nusd, uncosted_nusd, calls)
        select w.customer_id, p_month, 'import', sum(w.cost_nusd), sum(w.cost_nusd), count(*)
          from written w
         group by w.customer_id
        on conflict (customer_id, month, book) do update
           set spent_nusd = m.spent_nusd + excluded.spent_nusd, uncosted_nusd = m.uncosted_nusd + excluded.uncosted_nusd,
               calls = m.calls + excluded.calls, updated_at = now()
    ), keys as (
        insert into kaixu.key_month as m (chain_id, month, book, customer_id, spent_nusd, uncosted_nusd, calls)
        select w.chain_id, p_month, 'import', w.customer_id, sum(w.cost_nusd), sum(w.cost_nusd), count(*)
          from written w
         group by w.chain_id, w.customer_id
        on conflict (chain_id, month, book) do update
           set spent_nusd = m.spent_nusd + excluded.spent_nusd, uncosted_nusd = m.uncosted_nusd + excluded.uncosted_nusd,
               calls = m.calls + excluded.calls, updated_at = now()
    )
    select count(*)::integer into v_count from written;

    -- A day that the spend lies on is summed up again: today, if it is the first, or yesterday.
    update kaixu.limit_use u set day = null where u.customer_id = any (p_customer_id) and u.day = p_month;
    return v_count;
end
$$;
