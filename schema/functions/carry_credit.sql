-- carry_credit: carry a customer's debt, and unspent credit if that rolls over, from months that are over into p_month.
--
-- Credit is used after the cap: what was spent or is held beyond the cap, as the cap is now. What is left of a month's
-- credit is carried if `credit_rule` says so, else it ends with its month; what is missing, because credit was taken back
-- that had been used, is debt, and is always carried.
-- Each month that is over gives up what is carried (source 'carried'), p_month gets the sum (source 'rollover'), so that a
-- month that is over has just the credit that it used, and all months together what was credited. There is one row of
-- each kind for a month; as long as calls of a month are in flight, and when one is corrected later, the rows are
-- corrected. A month that has an invoice in force is left alone: the invoice has counted its credit as paid, and later
-- invoices correct its usage.
-- Returns what p_month got by this call.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.carry_credit(p_customer_id bigint, p_month date)
returns bigint
language plpgsql as $$
declare
    v_from      date;
    v_next      date;
    v_cap       bigint;
    v_rolls     boolean;
    v_carried   bigint := 0;
    v_before    bigint;
    r           record;
begin
    select c.carry_from, c.monthly_cap_nusd into v_from, v_cap from kaixu.customer c where c.id = p_customer_id;
    if v_from is null or v_from >= p_month then
        return 0;
    end if;
    select rule.rolls_over into v_rolls from kaixu.credit_rule rule;
    select min(t.month) into v_next from kaixu.topup t where t.customer_id = p_customer_id and t.month >= p_month;

    for r in
        select t.month, t.net_nusd, t.credited_nusd, t.debt_nusd, m.used_nusd, m.held_nusd,
               exists (select from kaixu.invoice i
                        where i.customer_id = p_customer_id and i.month = t.month and i.kind = 'invoice'
                          and not exists (select from kaixu.invoice_void v where v.invoice_id = i.id)) as is_billed
          from (select x.month, sum(x.amount_nusd)::bigint as net_nusd,
                       coalesce(sum(x.amount_nusd) filter (where x.source <> 'carried' and x.amount_nusd > 0), 0)::bigint
                           as credited_nusd,
                       coalesce(sum(x.amount_nusd) filter (where x.source = 'carried' and x.amount_nusd > 0), 0)::bigint
                           as debt_nusd
                  from kaixu.topup x
                 where x.customer_id = p_customer_id and x.month >= v_from and x.month < p_month
                   and x.status = 'applied'
                 group by x.month) t
         cross join lateral (select coalesce(sum(b.spent_nusd + b.held_nusd), 0)::bigint as used_nusd,
                                    coalesce(sum(b.held_nusd), 0)::bigint as held_nusd
                               from kaixu.customer_month b
                              where b.customer_id = p_customer_id and b.month = t.month and not b.has_own_cap) m
         order by t.month
    loop
        if r.held_nusd > 0 then
            v_next := least(v_next, r.month);
        end if;
        if r.is_billed then
            continue;
        end if;
        v_before := v_carried;
        v_carried := v_carried + r.net_nusd - least(greatest(r.used_nusd - v_cap, 0), r.credited_nusd);
        if v_carried > 0 and not v_rolls then
            v_carried := least(v_carried, r.debt_nusd);     -- of a debt that is smaller than it was when it was carried
        end if;
        if v_carried <> v_before then
            perform kaixu.book_carried(p_customer_id => p_customer_id, p_month => r.month,
                                       p_amount_nusd => v_before - v_carried, p_source => 'carried');
        end if;
    end loop;

    if v_carried <> 0 then
        perform kaixu.book_carried(p_customer_id => p_customer_id, p_month => p_month, p_amount_nusd => v_carried,
                                   p_source => 'rollover');
        v_next := least(v_next, p_month);
    end if;
    update kaixu.customer c set carry_from = v_next where c.id = p_customer_id;
    return v_carried;
end
$$;
