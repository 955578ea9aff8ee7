-- watch_balances: compare the balances of watched customers with their thresholds; the reaction is written once a crossing.
--
-- The balance is what the month's cap and credits leave of what was spent, without holds; it can be negative. A watch that
-- has crossed is armed again when the balance has reached the threshold, in a new month, and at its rearm_at.
-- Lock: the caller holds the customers' rows, so that of two settlements the second one sees that the first has crossed.
create or replace function kaixu.watch_balances(p_customer_id bigint[])
returns void
language plpgsql as $$
declare
    v_month constant date := date_trunc('month', clock_timestamp() at time zone 'UTC');
    r       record;
    v_armed boolean;
begin
    for r in
        select w.customer_id, w.integration, w.threshold_nusd, w.month, w.is_armed, w.rearm_at,
               c.monthly_cap_nusd + m.extra_nusd - m.spent_nusd as balance_nusd,
               c.monthly_cap_nusd + m.extra_nusd as cap_nusd, m.spent_nusd
          from kaixu.balance_watch w
          join kaixu.customer c on c.id = w.customer_id and c.deleted_at is null
         cross join lateral (select coalesce(sum(b.extra_nusd), 0)::bigint as extra_nusd,
                                    coalesce(sum(b.spent_nusd), 0)::bigint as spent_nusd
                               from kaixu.customer_month b
                              where b.customer_id = w.customer_id and b.month = v_month and not b.has_own_cap) m
         where w.customer_id = any (p_customer_id)
         order by w.customer_id, w.integration
    loop
        v_armed := r.is_armed or r.month <> v_month or coalesce(r.rearm_at <= clock_timestamp(), false);
        if r.balance_nusd >= r.threshold_nusd then
            v_armed := true;
        elsif v_armed then
            perform kaixu.react(
                p_event => 'balance_below', p_customer_id => r.customer_id, p_integration => r.integration,
                p_body => jsonb_build_object('month', to_char(v_month, 'YYYY-MM'), 'balance_nusd', r.balance_nusd,
                                             'threshold_nusd', r.threshold_nusd, 'cap_nusd', r.cap_nusd,
                                             'spent_nusd', r.spent_nusd));
            v_armed := false;
            r.rearm_at := null;
        end if;
        update kaixu.balance_watch w
           set is_armed = v_armed, month = v_month, rearm_at = case when not v_armed then r.rearm_at end
         where w.customer_id = r.customer_id and w.integration = r.integration
           and (w.is_armed, w.month, w.rearm_at) is distinct from
               (v_armed, v_month, case when not v_armed then r.rearm_at end);
    end loop;
end
$$;
