-- expire_charges: end the holds of charges by key whose time is over; return how many, at most p_most.
--
-- Whoever charges one later is billed all the same, as far as there is room: see apply_charges.
-- Notes of transactions that never ended are removed.
-- Lock: the customers' rows, ascending by id; locked ones are skipped, and their holds expire the next time.
create or replace function kaixu.expire_charges(p_most integer)
returns integer
language plpgsql as $$
declare
    v_tickets   uuid[];
    v_customers bigint[];
    v_ticket    uuid;
    v_count     integer := 0;
begin
    delete from kaixu.charge_note n
     where n.made_at not between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes';
    select array_agg(x.ticket) into v_tickets
      from (select k.ticket from kaixu.keyed_charge k
             where k.state = 'held' and k.expires_at < clock_timestamp()
             order by k.expires_at limit p_most) x;
    if v_tickets is null then
        return 0;
    end if;
    select array_agg(x.id) into v_customers
      from (select c.id from kaixu.customer c
             where c.id in (select k.customer_id from kaixu.keyed_charge k where k.ticket = any (v_tickets))
             order by c.id
               for no key update skip locked) x;
    for v_ticket in
        -- Looked at again under the lock: it may have been prolonged or charged meanwhile.
        select k.ticket from kaixu.keyed_charge k
         where k.ticket = any (v_tickets) and k.customer_id = any (v_customers) and k.state = 'held'
           and k.expires_at < clock_timestamp()
         order by k.customer_id, k.ticket
    loop
        v_count := v_count + kaixu.free_charge(p_ticket => v_ticket, p_state => 'expired')::integer;
    end loop;
    return v_count;
end
$$;
