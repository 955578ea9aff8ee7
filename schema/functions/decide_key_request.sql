-- decide_key_request: an operator approves a request that is held, or denies it.
--
-- Returns `outcome`: 'approved' (a mail with a link was enqueued), 'denied', 'unknown', 'decided' (it is not held).
-- Lock: the advisory lock 'kaixu.key_request' for the transaction.
create or replace function kaixu.decide_key_request(
    p_id            uuid,
    p_is_approved   boolean,
    p_actor         text,
    p_token_hash    bytea,
    p_valid_s       double precision,
    p_mail_id       uuid,
    p_subject       text,
    p_sealed        bytea
) returns table (outcome text, address text, recipient text)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now       timestamptz;
    v_request   kaixu.key_request;
begin
    perform pg_advisory_xact_lock(hashtextextended('kaixu.key_request', 0));
    v_now := clock_timestamp();
    select r.* into v_request from kaixu.key_request r where r.id = p_id;
    if not found then
        return query select 'unknown'::text, null::text, null::text;
        return;
    end if;
    if v_request.state <> 'held' then
        return query select 'decided'::text, v_request.address, v_request.recipient;
        return;
    end if;
    update kaixu.key_request r
       set state = case when p_is_approved then 'link' else 'denied' end, decided_by = p_actor, decided_at = v_now,
           token_hash = case when p_is_approved then p_token_hash end,
           expires_at = case when p_is_approved then v_now + make_interval(secs => p_valid_s) end,
           counted_at = case when p_is_approved then v_now else r.counted_at end
     where r.id = p_id;
    if p_is_approved then
        perform kaixu.enqueue_mail(
            p_idempotency_key => 'key_request:' || p_id, p_kind => 'key_link', p_recipient => v_request.recipient,
            p_subject => p_subject, p_id => p_mail_id, p_sealed => p_sealed,
            p_send_before => v_now + make_interval(secs => p_valid_s));
    end if;
    return query
    select case when p_is_approved then 'approved' else 'denied' end, v_request.address, v_request.recipient;
end
$$;
