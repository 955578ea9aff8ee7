-- make_codes: store a batch of redemption codes, once for each idempotency key.
--
-- Returns the batch, and whether this call made it: an earlier call's codes are not known any more.
-- Lock: the row of the batch, by its idempotency key.
create or replace function kaixu.make_codes(
    p_idempotency_key   text,
    p_amount_nusd       bigint,
    p_expires_at        timestamptz,
    p_email_domain      text,
    p_plan_name         text,
    p_note              text,
    p_created_by        text,
    p_code_hash         bytea[],
    p_last4             text[]
) returns table (batch_id bigint, made boolean)
language plpgsql as $$
#variable_conflict use_column
begin
    insert into kaixu.code_batch as b (idempotency_key, amount_nusd, expires_at, email_domain, plan_name, note, codes, created_by)
    values (p_idempotency_key, p_amount_nusd, p_expires_at, p_email_domain, p_plan_name, p_note, cardinality(p_code_hash),
            p_created_by)
    on conflict (idempotency_key) do nothing
    returning b.id into batch_id;
    made := batch_id is not null;
    if made then
        insert into kaixu.redemption_code (batch_id, code_hash, last4)
        select batch_id, c.code_hash, c.last4 from unnest(p_code_hash, p_last4) c (code_hash, last4);
    else
        select b.id into batch_id from kaixu.code_batch b where b.idempotency_key = p_idempotency_key;
    end if;
    return next;
end
$$;
