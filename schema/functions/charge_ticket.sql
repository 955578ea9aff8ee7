-- charge_ticket: the ticket of a charge by key. The same four names always give the same one, and no others do.
create or replace function kaixu.charge_ticket(p_integration text, p_customer_id bigint, p_charge text, p_key text)
returns uuid
language sql immutable as $$
    select encode(substring(sha256(convert_to(
               jsonb_build_array('kaixu.keyed_charge', p_integration, p_customer_id, p_charge, p_key)::text, 'UTF8'))
               from 1 for 16), 'hex')::uuid
$$;
