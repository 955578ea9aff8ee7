-- Webhooks to be delivered, whichever gateway gets to it: written in one transaction with what they report, so that a
-- crash loses none. Where to send it and how to sign it are the gateway's settings for the destination.
create table kaixu.webhook_delivery (
    id              uuid        primary key default gen_random_uuid(),
    destination     text        not null,                   -- 'alerts'
    event           text        not null,                   -- what it reports, for the log: 'CAP_REACHED_KEY'
    body            bytea       not null,                   -- the bytes that are signed and sent
    attempts        integer     not null default 0,
    next_attempt_at timestamptz default now(),              -- null: delivered, or given up
    delivered_at    timestamptz,
    last_error      text,
    created_at      timestamptz not null default now()
);
create index webhook_delivery_due_idx on kaixu.webhook_delivery (destination, next_attempt_at)
    where next_attempt_at is not null;
create index webhook_delivery_created_idx on kaixu.webhook_delivery (created_at);
