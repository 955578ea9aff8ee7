-- What is due at customers' own webhooks, by customer: which of two destinations comes first depends on the database's
-- collation, so they are not found by a range of their names.
create index webhook_delivery_customer_due_idx on kaixu.webhook_delivery (customer_id, next_attempt_at)
    where customer_id is not null and next_attempt_at is not null;
