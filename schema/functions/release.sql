-- release: free the reservations of calls that never began; by ticket, for a gateway that never got its verdict.
--
-- Returns how many there were. Lock: the customers' rows, ascending by id.
create or replace function kaixu.release(p_ticket uuid[])
returns integer
language plpgsql
set lock_timeout = '2s'
as $$
declare
    v_released integer;
begin
    perform 1
       from kaixu.customer c
      where c.id in (select r.customer_id from kaixu.reservation r where r.ticket = any (p_ticket))
      order by c.id
        for no key update;

    with ended as (
        delete from kaixu.reservation r where r.ticket = any (p_ticket)
        returning r.customer_id, r.chain_id, r.month, r.book, r.held_nusd, r.end_user
    ), customers as (
        update kaixu.customer_month m
           set held_nusd = m.held_nusd - s.held_nusd
          from (select x.customer_id, x.month, x.book, sum(x.held_nusd) as held_nusd from ended x group by 1, 2, 3) s
         where m.customer_id = s.customer_id and m.month = s.month and m.book = s.book
    ), keys as (
        update kaixu.key_month m
           set held_nusd = m.held_nusd - s.held_nusd
          from (select x.chain_id, x.month, x.book, sum(x.held_nusd) as held_nusd from ended x group by 1, 2, 3) s
         where m.chain_id = s.chain_id and m.month = s.month and m.book = s.book
    ), users as (
        update kaixu.end_user_month m
           set held_nusd = m.held_nusd - s.held_nusd
          from (select x.customer_id, x.month, x.end_user, sum(x.held_nusd) as held_nusd from ended x
                 where x.end_user is not null group by 1, 2, 3) s
         where m.customer_id = s.customer_id and m.month = s.month and m.end_user = s.end_user
    )
    select count(*) into v_released from ended;
    return v_released;
end
$$;
