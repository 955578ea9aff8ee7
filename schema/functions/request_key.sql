-- request_key: decide a request for a key by mail address, and count it.
--
-- Returns `outcome`: 'limited' (with `retry_after_s`; nothing was written), 'issue' (a new address in mode 'open': the
-- caller makes the customer and the key in this transaction), 'link' (a mail with a link was enqueued), 'held' (an
-- operator decides), 'suspended', 'unsendable' (mode 'open', a known address, no mail).
-- In the modes 'email' and 'approval' customers are not looked at here, so that neither the answer nor the time can
-- depend on them: a link goes to the address as it was typed, and what it is worth is decided when it is used.
-- Lock: the advisory lock 'kaixu.key_request' for the transaction: one request at a time, so that every limit is exact
-- and an address is new only once. Nobody who holds a customer's row waits for it.
create or replace function kaixu.request_key(
    p_id                uuid,
    p_address           text,
    p_spellings         text[],         -- how a customer of this address may be stored, the best first
    p_own_spellings     text[],         -- those that are the same address by every standard
    p_mailbox           text,
    p_network           bytea,
    p_mode              text,           -- 'open', 'email', 'approval'
    p_can_mail          boolean,
    p_per_address       integer,
    p_per_address_a_day integer,
    p_per_network       integer,
    p_per_network_a_day integer,
    p_in_all            integer,
    p_token_hash        bytea,
    p_valid_s           double precision,
    p_mail_id           uuid,
    p_subject           text,
    p_sealed            bytea
) returns table (outcome text, retry_after_s integer, recipient text)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now       timestamptz;
    v_known     record;
    v_wait_s    integer;
    v_outcome   text;
    v_recipient text;
    v_spellings text[];
begin
    perform pg_advisory_xact_lock(hashtextextended('kaixu.key_request', 0));
    v_now := clock_timestamp();
    v_wait_s := kaixu.selfservice_wait(v_now, p_mailbox, p_network, p_per_address, p_per_address_a_day, p_per_network,
                                       p_per_network_a_day, p_in_all);
    if v_wait_s is not null then
        return query select 'limited'::text, v_wait_s, p_address;
        return;
    end if;

    v_recipient := p_address;
    v_spellings := p_own_spellings;
    if p_mode = 'open' then
        select c.customer_id, c.email, c.is_active into v_known
          from kaixu.selfservice_customer(p_spellings, p_mailbox) c;
        if v_known.customer_id is not null then
            -- A link is for whoever reads the account's own mailbox, however the address was typed.
            v_recipient := v_known.email;
            v_spellings := array[lower(v_known.email)];
        end if;
    end if;

    if p_mode = 'approval' then
        v_outcome := case when exists (select from kaixu.key_request r where r.mailbox = p_mailbox and r.state = 'held')
                          then 'repeated' else 'held' end;
    elsif p_mode = 'email' then
        v_outcome := 'link';
    elsif v_known.customer_id is null then
        v_outcome := 'issue';
    else
        -- Only here keys that an operator made count, too: an answer in the other modes must not tell of them.
        select ceil(extract(epoch from min(s.at) + interval '1 hour' - v_now))::integer into v_wait_s
          from (select u.at
                  from (select k.created_at as at from kaixu.virtual_key k
                         where k.customer_id = v_known.customer_id
                           and not exists (select from kaixu.key_request r
                                            where r.customer_id = k.customer_id and r.key_id = k.id)
                        union all
                        select r.counted_at from kaixu.key_request r where r.mailbox = p_mailbox) u
                 where u.at > v_now - interval '1 hour' and u.at <= v_now
                 order by u.at desc limit p_per_address) s
        having count(*) >= p_per_address;
        if v_wait_s is not null then
            return query select 'limited'::text, greatest(1, v_wait_s), p_address;
            return;
        end if;
        v_outcome := case when not v_known.is_active then 'suspended' when p_can_mail then 'link' else 'unsendable' end;
    end if;

    insert into kaixu.key_request (id, address, mailbox, network, state, recipient, spellings, token_hash, expires_at,
                                   counted_at, created_at)
    values (p_id, p_address, p_mailbox, p_network, case v_outcome when 'issue' then 'issued' else v_outcome end,
            v_recipient, v_spellings,
            case when v_outcome = 'link' then p_token_hash end,
            case when v_outcome = 'link' then v_now + make_interval(secs => p_valid_s) end,
            v_now, v_now);
    if v_outcome = 'link' then
        perform kaixu.enqueue_mail(
            p_idempotency_key => 'key_request:' || p_id, p_kind => 'key_link', p_recipient => v_recipient,
            p_subject => p_subject, p_id => p_mail_id, p_sealed => p_sealed,
            p_send_before => v_now + make_interval(secs => p_valid_s));
    end if;
    return query select case v_outcome when 'repeated' then 'held' else v_outcome end, null::integer, v_recipient;
end
$$;
