-- prune_limit_use: remove what no limit needs any more, a customer at a time.
--
-- A row whose day is over and whose minute has passed would be summed up again all the same. A customer without rows
-- has no limits left: its settlements need not look for them.
-- Returns how many rows were removed. Lock: the customers' rows, those that are free.
create or replace function kaixu.prune_limit_use()
returns integer
language plpgsql as $$
declare
    v_customers bigint[];
    v_removed   integer;
begin
    select array_agg(c.id) into v_customers
      from (select c.id from kaixu.customer c where c.has_limits order by c.id for no key update skip locked) c;
    delete from kaixu.limit_use u
     where u.customer_id = any (v_customers)
       and (u.day is null or u.day < (clock_timestamp() at time zone 'UTC')::date - 1)
       and greatest(u.call_slot, u.token_slot) < extract(epoch from clock_timestamp()) - 3600;
    get diagnostics v_removed = row_count;
    update kaixu.customer c
       set has_limits = false
     where c.id = any (v_customers) and not exists (select from kaixu.limit_use u where u.customer_id = c.id);
    return v_removed;
end
$$;
