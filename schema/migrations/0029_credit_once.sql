-- A credit note may have a key of its caller's: a request that is repeated credits nothing again.
alter table kaixu.invoice add column idempotency_key text;
create unique index invoice_idempotency_idx on kaixu.invoice (customer_id, idempotency_key)
    where idempotency_key is not null;
