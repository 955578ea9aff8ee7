-- note_refusals: tell once that calls are refused because of a cap (CALLS_REFUSED_…), until the cap recovers.
--
-- Parallel arrays; chain 0 is the customer's own cap. p_cap_nusd is the cap at the refusal: where it has been raised since
-- then, nothing is told.
-- Lock: customers' rows as check_watches, then the rows of cap_alert, ascending, as check_caps.
create or replace function kaixu.note_refusals(
    p_customer_id   bigint[],
    p_chain_id      bigint[],
    p_month         date[],
    p_cap_nusd      bigint[]
) returns integer
language plpgsql as $$
declare
    r           record;
    f           record;
    v_count     integer := 0;
begin
    perform kaixu.check_watches(p_customer_id => p_customer_id);    -- whose calls are all refused never settles
    for r in
        select a.customer_id, a.chain_id, a.month, min(a.cap_nusd) as cap_nusd
          from unnest(p_customer_id, p_chain_id, p_month, p_cap_nusd) a (customer_id, chain_id, month, cap_nusd)
         where not exists (select from kaixu.cap_alert t
                            where t.customer_id = a.customer_id and t.chain_id = a.chain_id and t.month = a.month
                              and t.refused_at is not null)
         group by 1, 2, 3
         order by 1, 2, 3
    loop
        insert into kaixu.cap_alert (customer_id, chain_id, month) values (r.customer_id, r.chain_id, r.month)
        on conflict do nothing;
        perform 1 from kaixu.cap_alert t
          where t.customer_id = r.customer_id and t.chain_id = r.chain_id and t.month = r.month and t.refused_at is null
            for update;
        if not found then
            continue;
        end if;
        select x.* into f
          from kaixu.cap_figures(p_customer_id => array[r.customer_id], p_chain_id => array[r.chain_id],
                                 p_month => array[r.month], p_thresholds => '{}') x;
        if f.customer_id is null or f.cap_nusd > r.cap_nusd then
            continue;
        end if;
        update kaixu.cap_alert t
           set refused_at = clock_timestamp(), refused_cap_nusd = f.cap_nusd, updated_at = clock_timestamp()
         where t.customer_id = r.customer_id and t.chain_id = r.chain_id and t.month = r.month;
        perform kaixu.raise_alert(
            p_type => 'CALLS_REFUSED_' || case when r.chain_id = 0 then 'CUSTOMER' else 'KEY' end,
            p_customer_id => r.customer_id, p_key_id => f.key_id,
            p_body => jsonb_build_object('month', to_char(r.month, 'YYYY-MM'), 'cap_nusd', f.cap_nusd,
                                         'spent_nusd', f.spent_nusd, 'pct', f.pct));
        -- Spending that reaches the cap tells it, too: once until the cap recovers.
        if r.chain_id = 0 and not exists (select from kaixu.cap_alert t
                                           where t.customer_id = r.customer_id and t.chain_id = 0 and t.month = r.month
                                             and t.told_pct >= 100) then
            perform kaixu.react(
                p_event => 'cap_reached', p_customer_id => r.customer_id,
                p_body => jsonb_build_object('month', to_char(r.month, 'YYYY-MM'), 'cap_nusd', f.cap_nusd,
                                             'spent_nusd', f.spent_nusd, 'pct', f.pct));
        end if;
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
