-- after_settling: what follows from settlements, for the few customers that it concerns: see settle_v2, which calls it.
--
-- p_watched: customers whose balances are watched. A bill for a month that is over, whose credit has been carried, has the
-- carried credit corrected at the customer's next call.
-- Lock: the caller holds the customers' rows.
create or replace function kaixu.after_settling(p_watched bigint[], p_customer_id bigint[], p_month date[])
returns void
language plpgsql as $$
begin
    if p_watched is not null then
        perform kaixu.watch_balances(p_customer_id => p_watched);
    end if;
    update kaixu.customer c
       set carry_from = least(c.carry_from, l.month)
      from (select a.customer_id, min(a.month) as month
              from unnest(p_customer_id, p_month) a (customer_id, month)
             where a.month < date_trunc('month', clock_timestamp() at time zone 'UTC')
               and exists (select from kaixu.topup t where t.customer_id = a.customer_id and t.month = a.month)
             group by a.customer_id) l
     where c.id = l.customer_id and c.carry_from is distinct from least(c.carry_from, l.month);
end
$$;
