-- sweep_watches: compare balances at the beginning of a month, and when they are to be looked at again.
--
-- They are compared when they change, too; these times come without a change.
-- Returns how many customers there were, at most p_most.
-- Lock: takes customers' rows, ascending by id, skipping locked ones: a later round finds them.
create or replace function kaixu.sweep_watches(p_most integer)
returns integer
language plpgsql as $$
declare
    v_month     constant date := date_trunc('month', clock_timestamp() at time zone 'UTC');
    v_customers bigint[];
begin
    select array_agg(x.id) into v_customers
      from (select c.id from kaixu.customer c
             where c.deleted_at is null
               and c.id in (select w.customer_id from kaixu.balance_watch w where w.month < v_month
                             union all
                            select w.customer_id from kaixu.balance_watch w where w.rearm_at <= clock_timestamp())
             order by c.id limit p_most
               for no key update skip locked) x;
    if v_customers is not null then
        perform kaixu.watch_balances(p_customer_id => v_customers);
    end if;
    return coalesce(cardinality(v_customers), 0);
end
$$;
