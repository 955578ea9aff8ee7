-- unrevoke_device: give a device its seat back, if one is free.
--
-- Returns 'unrevoked' | 'full' | 'unknown'; a device that is not revoked stays as it is and is 'unrevoked'.
-- The limit is that of the newest key of the chain.
-- Lock: takes the customer's row, as admit does, so a new device and this one cannot both take the last seat.
create or replace function kaixu.unrevoke_device(p_chain_id bigint, p_install_id text)
returns text
language plpgsql as $$
declare
    c_seat_bound    constant integer := 1000;   -- as in admit
    v_seats         integer;
    v_revoked       boolean;
begin
    perform 1
       from kaixu.customer c
      where c.id in (select k.customer_id from kaixu.virtual_key k where k.chain_id = p_chain_id)
        for no key update;

    select d.revoked_at is not null into v_revoked
      from kaixu.device d
     where d.chain_id = p_chain_id and d.install_id = p_install_id;
    if v_revoked is null then
        return 'unknown';
    end if;

    select coalesce(nullif(coalesce(k.max_devices, c.max_devices_per_key, 0), 0), c_seat_bound) into v_seats
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
     where k.chain_id = p_chain_id
     order by k.id desc
     limit 1;
    if v_revoked and (select count(*) from kaixu.device d where d.chain_id = p_chain_id and d.revoked_at is null) >= v_seats then
        return 'full';
    end if;

    update kaixu.device d
       set revoked_at = null, revoked_by = null
     where d.chain_id = p_chain_id and d.install_id = p_install_id;
    return 'unrevoked';
end
$$;
