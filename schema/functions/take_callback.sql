-- take_callback: what was begun under a state, and use it up if it can be used once.
--
-- refused: 'UNKNOWN' (never begun here, expired, or used before), 'ASK' (it was begun in another browser, or another
-- origin: whoever has it must confirm it first), or null. p_is_confirmed: that was done.
-- Lock: the row, so that it is used once.
create or replace function kaixu.take_callback(
    p_state_hash bytea, p_integration text, p_callback text, p_cookie_hash bytea, p_is_confirmed boolean
) returns table (refused text, customer_id bigint, key_id bigint, is_bound boolean, sealed bytea, email text)
language plpgsql as $$
#variable_conflict use_column
declare
    r kaixu.callback_state;
begin
    select s.* into r
      from kaixu.callback_state s
     where s.state_hash = p_state_hash and s.integration = p_integration and s.callback = p_callback
       and s.expires_at > clock_timestamp() and s.used_at is null
       for update;
    if not found then
        return query select 'UNKNOWN', null::bigint, null::bigint, false, null::bytea, null::text;
        return;
    end if;
    email := (select c.email from kaixu.customer c where c.id = r.customer_id);
    if r.is_bound and not p_is_confirmed and p_cookie_hash is distinct from r.cookie_hash then
        return query select 'ASK', r.customer_id, null::bigint, true, null::bytea, email;
        return;
    end if;
    if r.is_bound then
        update kaixu.callback_state s set used_at = clock_timestamp() where s.state_hash = p_state_hash;
    end if;
    return query select null::text, r.customer_id, r.key_id, r.is_bound, r.sealed, email;
end
$$;
