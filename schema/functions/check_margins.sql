-- check_margins: tell of models and customers that cost more than they bring, once each and day (MARGIN_NEGATIVE).
--
-- The days are today, so far, and yesterday, in the reporting zone. Spending whose vendor cost is not known does not count.
-- p_least_loss_nusd: a smaller loss is not told. Returns how many alerts were raised.
-- Lock: none but the names of its alerts, ascending, which are unique.
create or replace function kaixu.check_margins(p_least_loss_nusd bigint)
returns integer
language plpgsql as $$
declare
    r       record;
    v_count integer := 0;
begin
    for r in
        with zone as (
            select (now() at time zone s.reporting_zone)::date as today from kaixu.rollup_state s
        ), usage as (
            select d.day, s.customer_id, s.provider, s.model, d.calls, d.spent_nusd - d.uncosted_nusd as costed_nusd,
                   d.vendor_cost_nusd
              from zone z
              join kaixu.usage_day d on d.day between z.today - 1 and z.today
              join kaixu.usage_series s on s.id = d.series_id
        ), parts as (
            select u.day, 'model' as subject, u.provider || '/' || u.model as name, null::bigint as customer_id,
                   sum(u.calls)::bigint as calls, sum(u.costed_nusd)::bigint as costed_nusd,
                   sum(u.vendor_cost_nusd)::bigint as vendor_cost_nusd
              from usage u
             where u.customer_id = 0
             group by u.day, u.provider, u.model
             union all
            select u.day, 'customer', u.customer_id::text, u.customer_id, sum(u.calls)::bigint,
                   sum(u.costed_nusd)::bigint, sum(u.vendor_cost_nusd)::bigint
              from usage u
             where u.customer_id <> 0
             group by u.day, u.customer_id
        ), losses as (
            select p.*, 'margin:' || p.subject || ':' || p.name || ':' || p.day as once
              from parts p
             where p.vendor_cost_nusd - p.costed_nusd >= greatest(p_least_loss_nusd, 1)
        )
        select l.* from losses l
         where not exists (select from kaixu.alert a where a.once = l.once)
         order by l.once
    loop
        if kaixu.raise_alert(
               p_type => 'MARGIN_NEGATIVE', p_customer_id => r.customer_id, p_once => r.once,
               p_body => jsonb_build_object('day', r.day, 'subject', r.subject, 'name', r.name, 'calls', r.calls,
                                            'spent_nusd', r.costed_nusd, 'vendor_cost_nusd', r.vendor_cost_nusd,
                                            'margin_nusd', r.costed_nusd - r.vendor_cost_nusd)) then
            v_count := v_count + 1;
        end if;
    end loop;
    return v_count;
end
$$;
