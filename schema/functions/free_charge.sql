-- free_charge: end the hold of a charge by key without a bill, as 'released' or 'expired'.
--
-- With the last hold of a book's month the holds of its monthly charges end, too. A charge that is not held stays as it is.
-- Returns whether it was held.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.free_charge(p_ticket uuid, p_state text)
returns boolean
language plpgsql as $$
declare
    c   kaixu.keyed_charge;
    v_monthly uuid;
begin
    select k.* into c from kaixu.keyed_charge k where k.ticket = p_ticket and k.state = 'held';
    if not found then
        return false;
    end if;
    update kaixu.customer_month m
       set held_nusd = m.held_nusd - c.held_nusd, updated_at = clock_timestamp()
     where m.customer_id = c.customer_id and m.month = c.month and m.book = c.book;
    update kaixu.key_month m
       set held_nusd = m.held_nusd - c.held_nusd, updated_at = clock_timestamp()
     where m.chain_id = c.chain_id and m.month = c.month and m.book = c.book;
    update kaixu.keyed_charge k
       set state = p_state, held_nusd = 0, ended_at = clock_timestamp()
     where k.ticket = p_ticket;
    -- Jobs that wait for room are tried again.
    insert into kaixu.cap_check (customer_id, chain_id, month) values (c.customer_id, 0, c.month);

    if not c.is_monthly and not exists (
        select from kaixu.keyed_charge k
         where k.customer_id = c.customer_id and k.month = c.month and k.book = c.book and k.state = 'held'
           and not k.is_monthly) then
        for v_monthly in
            select k.ticket from kaixu.keyed_charge k
             where k.customer_id = c.customer_id and k.month = c.month and k.book = c.book and k.state = 'held'
               and k.is_monthly
        loop
            perform kaixu.free_charge(p_ticket => v_monthly, p_state => p_state);
        end loop;
    end if;
    return true;
end
$$;
