-- check_watches: watch_balances for those of these customers that are watched.
--
-- Lock: takes the rows of watched customers, ascending by id.
create or replace function kaixu.check_watches(p_customer_id bigint[])
returns void
language plpgsql as $$
declare
    v_watched   bigint[];
begin
    select array_agg(x.id) into v_watched
      from (select c.id
              from kaixu.customer c
             where c.id = any (p_customer_id) and c.is_watched
             order by c.id
               for no key update) x;
    if v_watched is not null then
        perform kaixu.watch_balances(p_customer_id => v_watched);
    end if;
end
$$;
