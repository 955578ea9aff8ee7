-- fold_usage: move rows of usage_change into the roll-ups: by quarter of an hour, and by day of the reporting zone.
--
-- Each row counts for its own customer's series and for the series of all customers together (0, 0). A report reads the
-- roll-ups and usage_change in one statement, so it sees every call once, whenever this commits.
-- Returns how many rows it moved; null: another process is at it. At most p_most_rows at a time.
-- Caps of which something was spent are noted in cap_check: however a call was settled, its alerts are not lost.
-- Lock: the advisory lock 'roll' for the transaction, which fill_usage and set_reporting_zone take, too. No customer's row,
-- and nothing that a settlement waits for.
create or replace function kaixu.fold_usage(p_most_rows integer)
returns integer
language plpgsql as $$
declare
    v_zone  text;
    v_moved kaixu.usage_change[];
begin
    if not pg_try_advisory_xact_lock(x'726f6c6c'::bigint) then
        return null;
    end if;
    select s.reporting_zone into v_zone from kaixu.rollup_state s;

    with moved as (
        delete from kaixu.usage_change c
         where c.ctid = any (array(select x.ctid from kaixu.usage_change x limit p_most_rows))
        returning c.*
    )
    select array_agg(m::kaixu.usage_change) into v_moved from moved m;
    if v_moved is null then
        return 0;
    end if;

    insert into kaixu.usage_series (customer_id, chain_id, provider, model, deployment, book)
    select distinct o.customer_id, o.chain_id, m.provider, m.model, m.deployment, m.book
      from unnest(v_moved) m
     cross join lateral (values (m.customer_id, m.chain_id), (0, 0)) o (customer_id, chain_id)
     where not exists (select from kaixu.usage_series s
                        where s.customer_id = o.customer_id and s.chain_id = o.chain_id and s.provider = m.provider
                          and s.model = m.model and s.deployment = m.deployment and s.book = m.book);

    with rows as (
        select s.id as series_id, m.bucket, sum(m.calls) as calls, sum(m.errors) as errors,
               sum(m.input_tokens) as input_tokens, sum(m.output_tokens) as output_tokens,
               sum(m.cached_input_tokens) as cached_input_tokens, sum(m.cache_write_tokens) as cache_write_tokens,
               sum(m.reasoning_tokens) as reasoning_tokens, sum(m.spent_nusd) as spent_nusd,
               sum(m.vendor_cost_nusd) as vendor_cost_nusd, sum(m.uncosted_nusd) as uncosted_nusd,
               array[
                   coalesce(sum(m.calls) filter (where m.latency_class = 0), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 1), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 2), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 3), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 4), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 5), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 6), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 7), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 8), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 9), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 10), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 11), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 12), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 13), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 14), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 15), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 16), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 17), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 18), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 19), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 20), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 21), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 22), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 23), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 24), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 25), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 26), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 27), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 28), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 29), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 30), 0),
                   coalesce(sum(m.calls) filter (where m.latency_class = 31), 0)
               ] as latency
          from unnest(v_moved) m
         cross join lateral (values (m.customer_id, m.chain_id), (0, 0)) o (customer_id, chain_id)
          join kaixu.usage_series s
            on s.customer_id = o.customer_id and s.chain_id = o.chain_id and s.provider = m.provider
           and s.model = m.model and s.deployment = m.deployment and s.book = m.book
         group by s.id, m.bucket
    ), quarters as (
        insert into kaixu.usage_quarter as q
               (series_id, bucket, calls, errors, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens,
                reasoning_tokens, spent_nusd, vendor_cost_nusd, uncosted_nusd, latency)
        select r.series_id, r.bucket, r.calls, r.errors, r.input_tokens, r.output_tokens, r.cached_input_tokens,
               r.cache_write_tokens, r.reasoning_tokens, r.spent_nusd, r.vendor_cost_nusd, r.uncosted_nusd, r.latency
          from rows r
        on conflict (series_id, bucket) do update
           set calls = q.calls + excluded.calls, errors = q.errors + excluded.errors,
               input_tokens = q.input_tokens + excluded.input_tokens,
               output_tokens = q.output_tokens + excluded.output_tokens,
               cached_input_tokens = q.cached_input_tokens + excluded.cached_input_tokens,
               cache_write_tokens = q.cache_write_tokens + excluded.cache_write_tokens,
               reasoning_tokens = q.reasoning_tokens + excluded.reasoning_tokens,
               spent_nusd = q.spent_nusd + excluded.spent_nusd,
               vendor_cost_nusd = q.vendor_cost_nusd + excluded.vendor_cost_nusd,
               uncosted_nusd = q.uncosted_nusd + excluded.uncosted_nusd,
               latency = kaixu.latency_sum(q.latency, excluded.latency)
    )
    insert into kaixu.usage_day as d
           (series_id, day, calls, errors, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens,
            reasoning_tokens, spent_nusd, vendor_cost_nusd, uncosted_nusd, latency)
    select r.series_id, (r.bucket at time zone v_zone)::date, sum(r.calls), sum(r.errors), sum(r.input_tokens),
           sum(r.output_tokens), sum(r.cached_input_tokens), sum(r.cache_write_tokens), sum(r.reasoning_tokens),
           sum(r.spent_nusd), sum(r.vendor_cost_nusd), sum(r.uncosted_nusd), array[
               sum(r.latency[1])::bigint, sum(r.latency[2])::bigint, sum(r.latency[3])::bigint,
               sum(r.latency[4])::bigint, sum(r.latency[5])::bigint, sum(r.latency[6])::bigint,
               sum(r.latency[7])::bigint, sum(r.latency[8])::bigint, sum(r.latency[9])::bigint,
               sum(r.latency[10])::bigint, sum(r.latency[11])::bigint, sum(r.latency[12])::bigint,
               sum(r.latency[13])::bigint, sum(r.latency[14])::bigint, sum(r.latency[15])::bigint,
               sum(r.latency[16])::bigint, sum(r.latency[17])::bigint, sum(r.latency[18])::bigint,
               sum(r.latency[19])::bigint, sum(r.latency[20])::bigint, sum(r.latency[21])::bigint,
               sum(r.latency[22])::bigint, sum(r.latency[23])::bigint, sum(r.latency[24])::bigint,
               sum(r.latency[25])::bigint, sum(r.latency[26])::bigint, sum(r.latency[27])::bigint,
               sum(r.latency[28])::bigint, sum(r.latency[29])::bigint, sum(r.latency[30])::bigint,
               sum(r.latency[31])::bigint, sum(r.latency[32])::bigint
           ]
      from rows r
     group by 1, 2
    on conflict (series_id, day) do update
       set calls = d.calls + excluded.calls, errors = d.errors + excluded.errors,
           input_tokens = d.input_tokens + excluded.input_tokens,
           output_tokens = d.output_tokens + excluded.output_tokens,
           cached_input_tokens = d.cached_input_tokens + excluded.cached_input_tokens,
           cache_write_tokens = d.cache_write_tokens + excluded.cache_write_tokens,
           reasoning_tokens = d.reasoning_tokens + excluded.reasoning_tokens,
           spent_nusd = d.spent_nusd + excluded.spent_nusd,
           vendor_cost_nusd = d.vendor_cost_nusd + excluded.vendor_cost_nusd,
           uncosted_nusd = d.uncosted_nusd + excluded.uncosted_nusd,
           latency = kaixu.latency_sum(d.latency, excluded.latency);

    insert into kaixu.cap_check (customer_id, chain_id, month)
    select distinct m.customer_id, o.chain_id, date_trunc('month', m.bucket at time zone 'UTC')::date
      from unnest(v_moved) m
     cross join lateral (values (m.chain_id), (0)) o (chain_id)
     where m.spent_nusd <> 0 and m.bucket > now() - interval '2 days';
    return cardinality(v_moved);
end
$$;
