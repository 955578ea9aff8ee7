-- fill_usage: write the usage_change of the next events that are older than the roll-ups, in the order of their ids.
--
-- Rows and progress (rollup_state.next_id) are one transaction: one that is interrupted leaves neither. Reports are exact
-- for what is filled in. Old events have no tags, so there is nothing to add to the months of apps and end users.
-- A settlement that began before the migration may write an event of the old kind late. So filling waits until no
-- transaction is left that is older than its first call, at most ten minutes; at the end it takes up what came in late.
-- Returns how many ids it went through; 0: nothing to do now; null: all events are filled in, or another process is at it.
-- Lock: the advisory lock 'roll', see fold_usage, then rollup_state, which a settlement waits for only where it replaces
-- a 'lost' event. No customer's row.
create or replace function kaixu.fill_usage(p_most_events integer)
returns integer
language plpgsql
set enable_seqscan = off
as $$
declare
    r       record;
    v_last  bigint;
    v_count integer;
begin
    if exists (select from kaixu.rollup_state s where s.filled_at is not null)
       or not pg_try_advisory_xact_lock(x'726f6c6c'::bigint) then
        return null;
    end if;
    select s.next_id, s.end_id, s.fill_began_at, s.filled_at into r from kaixu.rollup_state s for update;
    if r.filled_at is not null then
        return null;
    end if;
    if r.fill_began_at is null then
        update kaixu.rollup_state s set fill_began_at = clock_timestamp(), updated_at = now();
        return 0;
    end if;
    if r.next_id = 0 and r.fill_began_at > now() - interval '10 minutes'
       and exists (select from pg_stat_activity a
                    where a.datname = current_database() and a.pid <> pg_backend_pid() and a.xact_start <= r.fill_began_at
                      and a.backend_type = 'client backend') then
        return 0;
    end if;

    select max(x.id), count(*) into v_last, v_count
      from (select e.id from kaixu.usage_event e
             where e.id >= r.next_id and e.id < r.end_id order by e.id limit p_most_events) x;
    if v_last is null then
        select max(e.id) into v_last from kaixu.usage_event e where e.id >= r.end_id and e.rolled_up is null;
        if v_last is null then
            update kaixu.rollup_state s set next_id = s.end_id, filled_at = now(), updated_at = now();
            return null;
        end if;
        update kaixu.rollup_state s set next_id = s.end_id, end_id = v_last + 1, updated_at = now();
        return 0;
    end if;

    insert into kaixu.usage_change
           (bucket, customer_id, chain_id, provider, model, deployment, book, calls, errors, input_tokens, output_tokens,
            cached_input_tokens, cache_write_tokens, reasoning_tokens, spent_nusd, vendor_cost_nusd, uncosted_nusd,
            latency_class)
    select kaixu.usage_bucket(e.admitted_at, e.month), e.customer_id, e.chain_id, e.provider, e.model,
           coalesce(e.units #>> '{call,deployment}', ''), e.book, count(*), count(*) filter (where e.end_reason <> 'complete'),
           sum(e.input_tokens), sum(e.output_tokens), sum(e.cached_input_tokens), sum(e.cache_write_tokens),
           sum(e.reasoning_tokens), sum(e.cost_nusd), sum(e.vendor_cost_nusd),
           coalesce(sum(e.cost_nusd) filter (where not e.vendor_cost_known), 0),
           case when e.end_reason <> 'lost' then kaixu.latency_class(e.duration_ms) end
      from kaixu.usage_event e
     where e.id >= r.next_id and e.id <= v_last and e.rolled_up is null
     group by 1, 2, 3, 4, 5, 6, 7, 18;
    update kaixu.rollup_state s set next_id = v_last + 1, updated_at = now();
    return v_count;
end
$$;
