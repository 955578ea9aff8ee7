-- set_reactions: what integrations react to from now on; the thresholds of customers are taken over from their settings.
--
-- p_reactions: an array of objects with the columns of kaixu.reaction. An integration that is not in it reacts to nothing
-- any more.
-- Lock: the advisory lock of its own name, then takes the rows of the customers whose thresholds may change, ascending by
-- id.
create or replace function kaixu.set_reactions(p_reactions jsonb)
returns void
language plpgsql as $$
declare
    v_changed   text[];
    r           record;
begin
    perform pg_advisory_xact_lock(hashtextextended('kaixu.reaction', 0));
    with given as (
        select g.* from jsonb_populate_recordset(null::kaixu.reaction, p_reactions) g
    ), gone as (
        delete from kaixu.reaction x
         where not exists (select from given g where g.integration = x.integration and g.event = x.event)
        returning x.integration, x.event
    ), written as (
        insert into kaixu.reaction as x
        select g.* from given g
        on conflict (integration, event) do update
           set kind = excluded.kind, most_attempts = excluded.most_attempts, threshold = excluded.threshold,
               threshold_unit_nusd = excluded.threshold_unit_nusd, threshold_default = excluded.threshold_default,
               enabled = excluded.enabled
         where x.* is distinct from excluded.*
        returning x.integration, x.event
    )
    select array_agg(distinct c.integration) into v_changed
      from (select * from gone union all select * from written) c
     where c.event = 'balance_below';
    if v_changed is null then
        return;
    end if;
    for r in
        select c.id, u.integration
          from kaixu.customer c
         cross join unnest(v_changed) u (integration)
         where c.deleted_at is null
           and (exists (select from kaixu.balance_watch w where w.customer_id = c.id and w.integration = u.integration)
                or exists (select from kaixu.integration_setting s
                            where s.customer_id = c.id and s.integration = u.integration))
         order by c.id, u.integration
    loop
        perform from kaixu.customer c where c.id = r.id for no key update;
        perform kaixu.watch_settings(p_customer_id => r.id, p_integration => r.integration);
    end loop;
end
$$;
