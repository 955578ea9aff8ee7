-- sweep_credit: carry credit and debt of months that are over, for customers that have not called in the new month yet.
--
-- Their first call would do it.
-- Returns how many customers there were, at most p_most.
-- Lock: takes customers' rows, ascending by id, skipping locked ones: a later round finds them.
create or replace function kaixu.sweep_credit(p_most integer)
returns integer
language plpgsql as $$
declare
    v_month     constant date := date_trunc('month', clock_timestamp() at time zone 'UTC');
    v_customers bigint[];
    v_id        bigint;
    v_count     integer;
begin
    select array_agg(x.id) into v_customers
      from (select c.id from kaixu.customer c
             where c.carry_from < v_month and c.deleted_at is null
             order by c.id limit p_most
               for no key update skip locked) x;
    v_count := coalesce(cardinality(v_customers), 0);
    foreach v_id in array coalesce(v_customers, '{}') loop
        perform kaixu.carry_credit(p_customer_id => v_id, p_month => v_month);
        perform kaixu.watch_balances(p_customer_id => array[v_id]);
    end loop;
    return v_count;
end
$$;
