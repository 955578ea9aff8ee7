-- bill_charge: bill a charge by key in the month of its time, by settle_v2, once.
--
-- What is held for it in that month is billed whatever became of key and caps since; what it costs beyond that only as far
-- as there is room, and the rest is in the event as unbilled_nusd. A hold of another month ends.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.bill_charge(
    p_ticket        uuid,
    p_integration   text,
    p_customer_id   bigint,
    p_charge        text,
    p_key           text,
    p_key_id        bigint,
    p_chain_id      bigint,
    p_book          text,
    p_is_monthly    boolean,
    p_units         bigint,
    p_unit          text,
    p_nusd          bigint,
    p_price_id      bigint,
    p_install_id    text,
    p_app_id        text,
    p_build_id      text,
    p_request_id    text,
    p_at            timestamptz
) returns void
language plpgsql as $$
declare
    v_month constant date := date_trunc('month', p_at at time zone 'UTC');
    v_now   constant timestamptz := clock_timestamp();
    v_held  bigint;
begin
    perform kaixu.free_charge(p_ticket => p_ticket, p_state => 'released')
       from kaixu.keyed_charge k
      where k.ticket = p_ticket and k.state = 'held' and k.month <> v_month;
    select k.held_nusd into v_held from kaixu.keyed_charge k where k.ticket = p_ticket and k.state = 'held';

    -- The hold becomes the reservation of a call that is settled at once.
    insert into kaixu.reservation (ticket, customer_id, key_id, chain_id, month, book, held_nusd, operation, provider, model,
                                   price_id, install_id, request_id, owner, created_at, expires_at, app_id, build_id)
    values (p_ticket, p_customer_id, p_key_id, p_chain_id, v_month, p_book, coalesce(v_held, 0),
            p_integration || '.' || p_charge, p_integration, p_charge, p_price_id, p_install_id, p_request_id, p_ticket,
            p_at, v_now + interval '1 minute', p_app_id, p_build_id);
    perform kaixu.settle_v2(
        p_ticket => array[p_ticket], p_customer_id => array[p_customer_id], p_key_id => array[p_key_id],
        p_chain_id => array[p_chain_id], p_month => array[v_month], p_book => array[p_book],
        p_operation => array[p_integration || '.' || p_charge], p_provider => array[p_integration],
        p_model => array[p_charge], p_price_id => array[p_price_id], p_install_id => array[p_install_id],
        p_request_id => array[p_request_id], p_admitted_at => array[p_at], p_duration_ms => array[0],
        p_end_reason => array['complete'], p_usage_source => array['plugin'], p_cost_nusd => array[p_nusd],
        p_vendor_cost_nusd => array[null::bigint], p_input_tokens => array[0::bigint], p_output_tokens => array[0::bigint],
        p_cached_input_tokens => array[0::bigint], p_cache_write_tokens => array[0::bigint],
        p_reasoning_tokens => array[0::bigint], p_units => array[jsonb_build_object(p_unit, p_units)],
        p_app_id => array[p_app_id], p_build_id => array[p_build_id], p_end_user => array[null::text]);
    insert into kaixu.keyed_charge as k
           (ticket, integration, customer_id, charge, key, key_id, chain_id, book, is_monthly, state, month, units,
            held_nusd, cost_nusd, price_id, install_id, app_id, build_id, held_at, expires_at, ended_at)
    select p_ticket, p_integration, p_customer_id, p_charge, p_key, p_key_id, p_chain_id, p_book, p_is_monthly, 'charged',
           v_month, p_units, 0, e.cost_nusd, p_price_id, p_install_id, p_app_id, p_build_id, v_now, v_now, v_now
      from kaixu.usage_event e
     where e.month = v_month and e.ticket = p_ticket
    on conflict (ticket) do update
       set state = 'charged', month = v_month, units = p_units, held_nusd = 0, cost_nusd = excluded.cost_nusd,
           price_id = p_price_id, book = p_book, ended_at = v_now;
end
$$;
