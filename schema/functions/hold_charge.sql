-- hold_charge: set what is held for a charge by key to an amount, with the units and the time that it is held for.
--
-- Keeps the month of a hold that is there. The caller has looked for room. Of a charge that is billed nothing is held.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.hold_charge(
    p_ticket        uuid,
    p_integration   text,
    p_customer_id   bigint,
    p_charge        text,
    p_key           text,
    p_key_id        bigint,
    p_chain_id      bigint,
    p_book          text,
    p_is_monthly    boolean,
    p_month         date,
    p_units         bigint,
    p_nusd          bigint,
    p_price_id      bigint,
    p_install_id    text,
    p_app_id        text,
    p_build_id      text,
    p_expires_at    timestamptz
) returns void
language plpgsql as $$
declare
    v_grown bigint;
begin
    v_grown := p_nusd - coalesce(
        (select k.held_nusd from kaixu.keyed_charge k where k.ticket = p_ticket and k.state = 'held'), 0);
    insert into kaixu.keyed_charge as k
           (ticket, integration, customer_id, charge, key, key_id, chain_id, book, is_monthly, state, month, units,
            held_nusd, price_id, install_id, app_id, build_id, expires_at)
    values (p_ticket, p_integration, p_customer_id, p_charge, p_key, p_key_id, p_chain_id, p_book, p_is_monthly, 'held',
            p_month, p_units, p_nusd, p_price_id, p_install_id, p_app_id, p_build_id, p_expires_at)
    on conflict (ticket) do update
       set state = 'held', month = p_month, units = p_units, held_nusd = p_nusd, price_id = p_price_id,
           key_id = p_key_id, chain_id = p_chain_id, book = p_book, is_monthly = p_is_monthly, ended_at = null,
           held_at = case when k.state = 'held' then k.held_at else clock_timestamp() end,
           expires_at = case when k.state = 'held' and k.is_monthly then greatest(k.expires_at, p_expires_at)
                             else p_expires_at end;
    perform kaixu.open_book(p_customer_id => p_customer_id, p_chain_id => p_chain_id, p_month => p_month, p_book => p_book);
    insert into kaixu.customer_month as m (customer_id, month, book, held_nusd, updated_at)
    values (p_customer_id, p_month, p_book, greatest(0, v_grown), clock_timestamp())
    on conflict (customer_id, month, book) do update
       set held_nusd = m.held_nusd + v_grown, updated_at = clock_timestamp();
    insert into kaixu.key_month as m (chain_id, month, book, customer_id, held_nusd, updated_at)
    values (p_chain_id, p_month, p_book, p_customer_id, greatest(0, v_grown), clock_timestamp())
    on conflict (chain_id, month, book) do update
       set held_nusd = m.held_nusd + v_grown, updated_at = clock_timestamp();
end
$$;
