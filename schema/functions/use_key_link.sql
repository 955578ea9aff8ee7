-- use_key_link: spend a link that was mailed, once.
--
-- Returns `outcome`: 'issue' (the link is spent; the caller makes the key in this transaction, for `customer_id`, or for
-- a new customer if that is null), or why not: 'unknown', 'used', 'replaced', 'expired', 'suspended', 'other_spelling' (the
-- mailbox has an account of another address), 'limited' (with `retry_after_s`). A link that is not spent can be used again.
-- All other open links to the same recipient end with it.
-- Lock: the advisory lock 'kaixu.key_request' for the transaction, then the customer's row.
create or replace function kaixu.use_key_link(
    p_token_hash        bytea,
    p_per_address       integer,
    p_per_address_a_day integer
) returns table (outcome text, retry_after_s integer, request_id uuid, address text, mailbox text, customer_id bigint,
                 chain_id bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now       timestamptz;
    v_request   kaixu.key_request;
    v_known     record;
    v_wait_s    integer;
    v_outcome   text;
begin
    perform pg_advisory_xact_lock(hashtextextended('kaixu.key_request', 0));
    v_now := clock_timestamp();
    select r.* into v_request from kaixu.key_request r where r.token_hash = p_token_hash;
    if not found then
        return query select 'unknown'::text, null::integer, null::uuid, null::text, null::text, null::bigint, null::bigint;
        return;
    end if;
    select c.customer_id, c.is_active, c.chain_id into v_known
      from kaixu.selfservice_customer(v_request.spellings, null) c;
    if v_known.customer_id is not null then
        perform from kaixu.customer c where c.id = v_known.customer_id for no key update;
        select c.customer_id, c.is_active, c.chain_id into v_known
          from kaixu.selfservice_customer(v_request.spellings, null) c;
    end if;
    -- A link whose request has left the window counts as a request of now.
    if v_request.counted_at <= v_now - interval '1 hour' then
        v_wait_s := kaixu.selfservice_wait(v_now, v_request.mailbox, null, p_per_address, p_per_address_a_day, 1, 1, 1);
    end if;
    v_outcome := case
        when v_request.state <> 'link' then v_request.state     -- 'used', 'replaced'
        when v_request.expires_at <= v_now then 'expired'
        when v_known.is_active is false then 'suspended'
        when v_known.customer_id is null
             and exists (select from kaixu.selfservice_customer(v_request.spellings, v_request.mailbox)) then 'other_spelling'
        when v_wait_s is not null then 'limited'
        else 'issue' end;
    if v_outcome = 'issue' then
        update kaixu.key_request r set state = 'used', counted_at = v_now where r.id = v_request.id;
        update kaixu.key_request r set state = 'replaced'
         where r.mailbox = v_request.mailbox and r.recipient = v_request.recipient and r.state = 'link'
           and r.id <> v_request.id;
    end if;
    return query
    select v_outcome, case when v_outcome = 'limited' then v_wait_s end, v_request.id, v_request.recipient,
           v_request.mailbox, v_known.customer_id, v_known.chain_id;
end
$$;
