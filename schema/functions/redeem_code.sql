-- redeem_code: credit a redemption code to the customer of a key, once.
--
-- refused is a code, or null. A code that the same customer redeemed before is not refused: `applied` is false, so that a
-- client that lost the reply may ask again. A code that does not exist counts as a try of the customer and of the network
-- (p_network: a hash); after p_per_customer or p_per_network of them within p_window_s seconds none is looked up.
-- Returns one row.
-- Lock: the customer's row, then its tries, then its network's, then the code. A code is taken by one customer alone
-- because its row is locked; it is credited once because its id is the top-up's idempotency key.
create or replace function kaixu.redeem_code(
    p_key_id        bigint,
    p_code_hash     bytea,
    p_network       bytea,
    p_per_customer  integer,
    p_per_network   integer,
    p_window_s      integer
) returns table (
    refused         text,
    retry_after_s   integer,
    code_id         bigint,
    batch_id        bigint,
    customer_id     bigint,
    month           date,
    amount_nusd     bigint,
    extra_nusd      bigint,
    applied         boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
    v_customer  record;
    v_code      record;
    v_subject   bytea;
    v_now       timestamptz;
    v_since     timestamptz;
    v_subjects  bytea[];
    v_most      integer[];
    v_tried     timestamptz[];
begin
    select c.id, c.is_active, c.plan_name, lower(split_part(c.email, '@', 2)) as email_domain, k.revoked_at,
           k.expires_at, k.role
      into v_customer
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
     where k.id = p_key_id and c.deleted_at is null
       for no key update of c;
    if not found then
        refused := 'UNAUTHENTICATED';
        return next;
        return;
    end if;
    customer_id := v_customer.id;
    -- Under the lock: the key may have been revoked meanwhile.
    select k.revoked_at, k.expires_at, k.role into v_customer.revoked_at, v_customer.expires_at, v_customer.role
      from kaixu.virtual_key k where k.id = p_key_id;
    if v_customer.revoked_at is not null then
        refused := 'UNAUTHENTICATED';
    elsif v_customer.expires_at <= clock_timestamp() then
        refused := 'KEY_EXPIRED';
    elsif not v_customer.is_active then
        refused := 'CUSTOMER_DISABLED';
    elsif v_customer.role not in ('admin', 'owner') then
        refused := 'ROLE_TOO_LOW';
    end if;
    if refused is not null then
        return next;
        return;
    end if;

    v_subjects := array[convert_to('customer:' || v_customer.id, 'UTF8'), p_network];
    v_most := array[p_per_customer, p_per_network];
    for at in 1 .. 2 loop
        insert into kaixu.redemption_try (subject) values (v_subjects[at]) on conflict do nothing;
        select t.tried_at into v_tried from kaixu.redemption_try t where t.subject = v_subjects[at] for update;
        v_now := clock_timestamp();
        v_since := v_now - make_interval(secs => p_window_s);
        v_tried := array(select s from unnest(v_tried) s where s > v_since and s <= v_now order by s);
        if cardinality(v_tried) >= v_most[at] then
            refused := 'RATE_LIMITED';
            retry_after_s := greatest(
                coalesce(retry_after_s, 1),
                ceil(extract(epoch from v_tried[cardinality(v_tried) - v_most[at] + 1] - v_since))::integer);
        end if;
    end loop;
    if refused is not null then
        return next;
        return;
    end if;

    select r.id, r.batch_id, r.customer_id, r.revoked_at, b.amount_nusd, b.expires_at, b.email_domain, b.plan_name
      into v_code
      from kaixu.redemption_code r
      join kaixu.code_batch b on b.id = r.batch_id
     where r.code_hash = p_code_hash
       for update of r;
    if not found then
        refused := 'UNKNOWN_CODE';
        foreach v_subject in array v_subjects loop
            update kaixu.redemption_try t
               set tried_at = array(select s from unnest(t.tried_at) s where s > v_since and s <= v_now order by s) || v_now,
                   last_at = v_now
             where t.subject = v_subject;
        end loop;
        delete from kaixu.redemption_try t
         where t.subject in (select o.subject from kaixu.redemption_try o
                              where o.last_at < v_now - interval '1 day' for update skip locked limit 100);
        return next;
        return;
    end if;
    code_id := v_code.id;
    batch_id := v_code.batch_id;
    amount_nusd := v_code.amount_nusd;
    if v_code.customer_id is null then
        if v_code.revoked_at is not null then
            refused := 'CODE_REVOKED';
        elsif v_code.expires_at <= v_now then
            refused := 'CODE_EXPIRED';
        elsif v_code.email_domain <> v_customer.email_domain or v_code.plan_name <> v_customer.plan_name then
            refused := 'CODE_NOT_FOR_ACCOUNT';
        end if;
    elsif v_code.customer_id <> v_customer.id then
        refused := 'CODE_USED';
    end if;
    if refused is not null then
        return next;
        return;
    end if;

    if v_code.customer_id is null then
        update kaixu.redemption_code r set customer_id = v_customer.id, redeemed_at = v_now where r.id = v_code.id;
        month := date_trunc('month', v_now at time zone 'UTC');
    else
        select t.month into month from kaixu.topup t where t.idempotency_key = 'code:' || v_code.id;
    end if;
    select t.applied, t.extra_nusd into applied, extra_nusd
      from kaixu.top_up(
               p_idempotency_key => 'code:' || v_code.id, p_customer_id => v_customer.id, p_month => month,
               p_amount_nusd => v_code.amount_nusd, p_source => 'code') t;
    return next;
end
$$;
