-- raise_alert: write an alert, in the transaction of what it reports; a gateway dispatches it to its receivers.
--
-- Returns whether it was written: with p_once, only the first alert of that name is. The caller decides under a lock of
-- its own where p_once is null.
-- p_receiver: the receiver that the alert is about, which does not get it.
-- Lock: none.
create or replace function kaixu.raise_alert(
    p_type          text,
    p_body          jsonb,
    p_customer_id   bigint default null,
    p_key_id        bigint default null,
    p_once          text default null,
    p_receiver      text default null
) returns boolean
language plpgsql as $$
begin
    insert into kaixu.alert (type, once, customer_id, key_id, receiver, body, created_at)
    values (p_type, p_once, p_customer_id, p_key_id, p_receiver, p_body, clock_timestamp())
    on conflict (once) where once is not null do nothing;
    return found;
end
$$;
