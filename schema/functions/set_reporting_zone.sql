-- set_reporting_zone: the time zone of usage_day from now on; the days are made again from the quarters of an hour.
--
-- Does nothing where it is the zone already. A report that reads usage_day reads the zone in the same statement, and sees
-- both as they were or both as they are.
-- Returns whether it was another zone.
-- Lock: waits for the advisory lock 'roll', see fold_usage. No customer's row.
create or replace function kaixu.set_reporting_zone(p_zone text)
returns boolean
language plpgsql as $$
begin
    if exists (select from kaixu.rollup_state s where s.reporting_zone = p_zone) then
        return false;
    end if;
    perform pg_advisory_xact_lock(x'726f6c6c'::bigint);
    update kaixu.rollup_state s set reporting_zone = p_zone, updated_at = now() where s.reporting_zone <> p_zone;
    if not found then
        return false;
    end if;
    delete from kaixu.usage_day;
    insert into kaixu.usage_day
           (series_id, day, calls, errors, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens,
            reasoning_tokens, spent_nusd, vendor_cost_nusd, uncosted_nusd, latency)
    select q.series_id, (q.bucket at time zone p_zone)::date, sum(q.calls), sum(q.errors), sum(q.input_tokens),
           sum(q.output_tokens), sum(q.cached_input_tokens), sum(q.cache_write_tokens), sum(q.reasoning_tokens),
           sum(q.spent_nusd), sum(q.vendor_cost_nusd), sum(q.uncosted_nusd), kaixu.latency_total(q.latency)
      from kaixu.usage_quarter q
     group by 1, 2;
    return true;
end
$$;
