-- check_caps: raise the alerts of caps whose spending has passed a threshold, and of caps that have recovered.
--
-- Parallel arrays, of any order; chain 0 is the customer's own cap. Of several thresholds that were passed since the last
-- check only the highest is told: CAP_WARN_…, or from 100 % on CAP_REACHED_…. A threshold is told again only after the
-- spending was below it again, because the cap was raised or topped up.
-- A cap has recovered (CAP_RECOVERED_…) when it had been reached, or calls were refused because of it, and now less than
-- the cap is spent and, after refusals, the cap is higher than at the first of them.
-- Of a month that ended more than two days ago nothing is told.
-- Returns a row for each cap: what it is, and the spending at which the next threshold lies (null: none is left), so that
-- the gateway asks no earlier.
-- Lock: the rows of cap_alert, ascending; they come after customers, and who holds one waits for nothing else.
create or replace function kaixu.check_caps(
    p_customer_id   bigint[],
    p_chain_id      bigint[],
    p_month         date[],
    p_thresholds    integer[]           -- of customers and keys without thresholds of their own
) returns table (customer_id bigint, chain_id bigint, month date, cap_nusd bigint, next_nusd bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    r           record;
    f           record;
    s           kaixu.cap_alert;
    v_passed    integer;
    v_owner     text;
begin
    -- Most caps have passed nothing: one statement finds the others, without a lock.
    for r in
        select x.customer_id, x.chain_id, x.month
          from kaixu.cap_figures(p_customer_id => p_customer_id, p_chain_id => p_chain_id, p_month => p_month,
                                 p_thresholds => p_thresholds) x
          left join kaixu.cap_alert t
            on t.customer_id = x.customer_id and t.chain_id = x.chain_id and t.month = x.month
         where (x.pct < t.told_pct or t.refused_at is not null
                or exists (select from unnest(x.thresholds) h where h <= x.pct and h > coalesce(t.told_pct, 0)))
           and x.month > (now() at time zone 'UTC' - interval '2 days' - interval '1 month')::date
         order by x.customer_id, x.chain_id, x.month
    loop
        insert into kaixu.cap_alert (customer_id, chain_id, month) values (r.customer_id, r.chain_id, r.month)
        on conflict do nothing;
        select t.* into s
          from kaixu.cap_alert t
         where t.customer_id = r.customer_id and t.chain_id = r.chain_id and t.month = r.month
           for update;
        -- Read again under the lock: whoever held it before has seen no later figures than these.
        select x.* into f
          from kaixu.cap_figures(p_customer_id => array[r.customer_id], p_chain_id => array[r.chain_id],
                                 p_month => array[r.month], p_thresholds => p_thresholds) x;
        if s.customer_id is null or f.customer_id is null or f.pct is null then
            continue;
        end if;
        v_owner := case when r.chain_id = 0 then 'CUSTOMER' else 'KEY' end;

        if f.spent_nusd < f.cap_nusd and (s.told_pct >= 100 or f.cap_nusd > s.refused_cap_nusd) then
            perform kaixu.raise_alert(
                p_type => 'CAP_RECOVERED_' || v_owner, p_customer_id => r.customer_id, p_key_id => f.key_id,
                p_body => jsonb_build_object('month', to_char(r.month, 'YYYY-MM'), 'cap_nusd', f.cap_nusd,
                                             'spent_nusd', f.spent_nusd, 'pct', f.pct));
            s.refused_at := null;
            s.refused_cap_nusd := null;
        end if;
        if s.refused_at is not null then
            s.refused_cap_nusd := least(s.refused_cap_nusd, f.cap_nusd);
        end if;
        s.told_pct := least(s.told_pct, f.pct);

        select max(h) into v_passed from unnest(f.thresholds) h where h <= f.pct;
        if v_passed > s.told_pct then
            perform kaixu.raise_alert(
                p_type => case when v_passed >= 100 then 'CAP_REACHED_' else 'CAP_WARN_' end || v_owner,
                p_customer_id => r.customer_id, p_key_id => f.key_id,
                p_body => jsonb_build_object('month', to_char(r.month, 'YYYY-MM'), 'cap_nusd', f.cap_nusd,
                                             'spent_nusd', f.spent_nusd, 'pct', f.pct, 'threshold_pct', v_passed));
            s.told_pct := v_passed;
            if r.chain_id = 0 and (v_passed < 100 or s.refused_at is null) then     -- else a refused call has told it
                perform kaixu.react(
                    p_event => case when v_passed >= 100 then 'cap_reached' else 'cap_warned' end,
                    p_customer_id => r.customer_id,
                    p_body => jsonb_build_object('month', to_char(r.month, 'YYYY-MM'), 'cap_nusd', f.cap_nusd,
                                                 'spent_nusd', f.spent_nusd, 'pct', f.pct, 'threshold_pct', v_passed));
            end if;
        end if;
        update kaixu.cap_alert t
           set told_pct = s.told_pct, refused_at = s.refused_at, refused_cap_nusd = s.refused_cap_nusd,
               updated_at = clock_timestamp()
         where t.customer_id = r.customer_id and t.chain_id = r.chain_id and t.month = r.month
           and (t.told_pct, t.refused_at, t.refused_cap_nusd) is distinct from
               (s.told_pct, s.refused_at, s.refused_cap_nusd);
    end loop;

    return query
    select x.customer_id, x.chain_id, x.month, x.cap_nusd,
           (select ceil(x.cap_nusd::numeric * min(h) / 100)::bigint from unnest(x.thresholds) h where h > x.pct)
      from kaixu.cap_figures(p_customer_id => p_customer_id, p_chain_id => p_chain_id, p_month => p_month,
                             p_thresholds => p_thresholds) x;
end
$$;
