-- enqueue_mail: write a mail to be sent, once for each idempotency key.
--
-- Call it in the transaction that decides what the mail reports. Returns the mail's id; null: an earlier call with this
-- key has written it. Bodies that hold a secret are given as `p_sealed`, encrypted for `p_id`, and not as text. What a
-- header cannot have is replaced here, so that no subject fails the caller's transaction.
-- Lock: none; takes no customer's row.
create or replace function kaixu.enqueue_mail(
    p_idempotency_key   text,
    p_kind              text,
    p_recipient         text,
    p_subject           text,
    p_text              text        default null,
    p_html              text        default null,
    p_attachments       jsonb       default '[]',   -- [{"kind": "invoice", "id": 7}]
    p_send_before       timestamptz default null,
    p_customer_id       bigint      default null,
    p_id                uuid        default gen_random_uuid(),
    p_sealed            bytea       default null
) returns uuid
language plpgsql as $$
declare
    v_id uuid;
begin
    insert into kaixu.mail (id, idempotency_key, kind, customer_id, recipient, subject, body_text, body_html, sealed,
                            attachments, next_attempt_at, send_before, created_at)
    values (p_id, p_idempotency_key, p_kind, p_customer_id, p_recipient,
            left(regexp_replace(p_subject, '[[:cntrl:]]+', ' ', 'g'), 200), p_text, p_html, p_sealed,
            p_attachments, clock_timestamp(), p_send_before, clock_timestamp())
    on conflict (idempotency_key) do nothing
    returning id into v_id;
    return v_id;
end
$$;
