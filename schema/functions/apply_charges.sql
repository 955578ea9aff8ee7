-- apply_charges: hold, bill and release a customer's charges by key, in the order in which a call asked for them.
--
-- p_effects: [{"kind": "hold" | "charge" | "release", "charge", "key", "units", "for_s", "at"}].
-- Returns one row for the first that is refused, 'CAP_REACHED', 'NO_KEY' or 'UNKNOWN_CUSTOMER', with the cap that has no
-- room; the caller then rolls everything back. No row: all was done.
-- A hold sets units and time. Only growth needs room; a cap of 0 refuses it whatever it costs. A charge is never refused and
-- is billed once, by the key of its hold or of this call; the second time nothing happens. A release of what is not held is
-- nothing. With the first hold of a book's month its monthly charges are held, with the first charge they are billed.
-- The month's version of the price list is fixed by the first of them.
-- Lock: takes the customer's row.
create or replace function kaixu.apply_charges(
    p_integration   text,
    p_customer_id   bigint,
    p_key_id        bigint,
    p_install_id    text,
    p_app_id        text,
    p_build_id      text,
    p_request_id    text,
    p_effects       jsonb
) returns table (
    refused     text,
    charge      text,
    units       bigint,
    asked_nusd  bigint,
    book        text,
    month       date,
    cap_nusd    bigint,
    spent_nusd  bigint,
    held_nusd   bigint
)
language plpgsql
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    v_now       timestamptz;
    v_month     date;
    e           record;
    c           kaixu.keyed_charge;
    p           kaixu.book_price;
    v_book      text;
    v_ticket    uuid;
    v_key_id    bigint;
    v_chain_id  bigint;
    v_at        timestamptz;
    v_own       boolean;
    v_version   text;
    v_nusd      bigint;
    v_needed    bigint;
    v_room      record;
    m           record;
begin
    perform from kaixu.customer x where x.id = p_customer_id and x.deleted_at is null for no key update;
    if not found then
        return query select 'UNKNOWN_CUSTOMER', null::text, null::bigint, null::bigint, null::text, null::date, null::bigint,
                            null::bigint, null::bigint;
        return;
    end if;
    v_now := clock_timestamp();

    for e in
        select x.*
          from jsonb_to_recordset(p_effects)
               x (place integer, kind text, charge text, key text, units bigint, for_s double precision, at timestamptz)
         order by x.place
    loop
        v_ticket := kaixu.charge_ticket(
            p_integration => p_integration, p_customer_id => p_customer_id, p_charge => e.charge, p_key => e.key);
        select k.* into c from kaixu.keyed_charge k where k.ticket = v_ticket;
        if c.state = 'charged' then
            continue;
        end if;
        if e.kind = 'release' then
            perform kaixu.free_charge(p_ticket => v_ticket, p_state => 'released');
            continue;
        end if;

        v_key_id := coalesce(c.key_id, p_key_id);
        select k.chain_id into v_chain_id from kaixu.virtual_key k where k.id = v_key_id and k.customer_id = p_customer_id;
        if v_chain_id is null then
            return query select 'NO_KEY', e.charge, e.units, null::bigint, null::text, null::date, null::bigint,
                                null::bigint, null::bigint;
            return;
        end if;
        v_at := case when e.kind = 'charge' then least(coalesce(e.at, v_now), v_now) else v_now end;
        v_month := case when e.kind = 'hold' and c.state = 'held' then c.month
                        else date_trunc('month', v_at at time zone 'UTC')::date end;
        select b.book into strict v_book
          from kaixu.book_price b
         where b.integration = p_integration and b.version = 'default' and b.charge = e.charge;
        v_version := kaixu.open_book_month(p_customer_id => p_customer_id, p_month => v_month, p_book => v_book);
        v_own := v_book <> 'ai'
                 and kaixu.book_has_own_cap(p_customer_id => p_customer_id, p_month => v_month, p_book => v_book);
        select b.* into strict p
          from kaixu.book_price b
         where b.integration = p_integration and b.version in (v_version, 'default') and b.charge = e.charge
         order by b.version = v_version desc  -- an old list has no price of a charge that is new
         limit 1;
        v_nusd := kaixu.charge_cost(p_units => e.units, p_price_nusd => p.price_nusd, p_per => p.per);

        if e.kind = 'hold' then
            v_needed := v_nusd - case when c.state = 'held' then c.held_nusd else 0 end;
            if c.state is distinct from 'held' or v_needed > 0 then
                v_needed := v_needed + coalesce((
                    select sum(x.price_nusd)::bigint
                      from kaixu.monthly_charges(
                               p_integration => p_integration, p_customer_id => p_customer_id, p_book => v_book,
                               p_month => v_month, p_version => v_version) x
                     where x.state is null or x.state in ('released', 'expired')), 0);
                select r.* into v_room
                  from kaixu.charge_room(
                           p_customer_id => p_customer_id, p_key_id => v_key_id, p_month => v_month,
                           p_integration => p_integration, p_charge => e.charge, p_book => v_book,
                           p_has_own_cap => v_own) r;
                if v_room.cap_nusd <= 0 or greatest(0, v_room.room_nusd) < v_needed then
                    return query select 'CAP_REACHED', e.charge, e.units, v_needed, v_book, v_month, v_room.cap_nusd,
                                        v_room.spent_nusd, v_room.held_nusd;
                    return;
                end if;
            end if;
            perform kaixu.hold_charge(
                p_ticket => v_ticket, p_integration => p_integration, p_customer_id => p_customer_id, p_charge => e.charge,
                p_key => e.key, p_key_id => v_key_id, p_chain_id => v_chain_id, p_book => v_book,
                p_is_monthly => false, p_month => v_month, p_units => e.units, p_nusd => v_nusd, p_price_id => p.price_id,
                p_install_id => coalesce(c.install_id, p_install_id), p_app_id => coalesce(c.app_id, p_app_id),
                p_build_id => coalesce(c.build_id, p_build_id), p_expires_at => v_now + make_interval(secs => e.for_s));
        else
            perform kaixu.bill_charge(
                p_ticket => v_ticket, p_integration => p_integration, p_customer_id => p_customer_id, p_charge => e.charge,
                p_key => e.key, p_key_id => v_key_id, p_chain_id => v_chain_id, p_book => v_book, p_is_monthly => false,
                p_units => e.units, p_unit => p.unit, p_nusd => v_nusd, p_price_id => p.price_id,
                p_install_id => coalesce(c.install_id, p_install_id), p_app_id => coalesce(c.app_id, p_app_id),
                p_build_id => coalesce(c.build_id, p_build_id), p_request_id => p_request_id, p_at => v_at);
        end if;

        for m in
            select x.*
              from kaixu.monthly_charges(
                       p_integration => p_integration, p_customer_id => p_customer_id, p_book => v_book,
                       p_month => v_month, p_version => v_version) x
             where x.state is distinct from 'charged'
        loop
            if e.kind = 'hold' then
                perform kaixu.hold_charge(
                    p_ticket => m.ticket, p_integration => p_integration, p_customer_id => p_customer_id,
                    p_charge => m.charge, p_key => m.key, p_key_id => coalesce(m.key_id, v_key_id),
                    p_chain_id => coalesce(m.chain_id, v_chain_id), p_book => v_book,
                    p_is_monthly => true, p_month => v_month, p_units => 1, p_nusd => m.price_nusd,
                    p_price_id => m.price_id, p_install_id => p_install_id, p_app_id => p_app_id,
                    p_build_id => p_build_id, p_expires_at => v_now + make_interval(secs => e.for_s));
            else
                perform kaixu.bill_charge(
                    p_ticket => m.ticket, p_integration => p_integration, p_customer_id => p_customer_id,
                    p_charge => m.charge, p_key => m.key, p_key_id => coalesce(m.key_id, v_key_id),
                    p_chain_id => coalesce(m.chain_id, v_chain_id), p_book => v_book, p_is_monthly => true, p_units => 1,
                    p_unit => m.unit, p_nusd => m.price_nusd, p_price_id => m.price_id, p_install_id => p_install_id,
                    p_app_id => p_app_id, p_build_id => p_build_id, p_request_id => p_request_id, p_at => v_at);
            end if;
        end loop;
    end loop;
end
$$;
