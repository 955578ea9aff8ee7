-- Events of vendors that webhooks of integrations have brought: each is stored once, and handled by a job, which has its
-- body. The row stays longer than the job, so that a vendor that sends again is recognized.
create table kaixu.webhook_event (
    integration text        not null,
    event_id    text        not null,                       -- the vendor's
    webhook     text        not null,
    type        text        not null,
    object      text,                                       -- what it is about; events of one object are handled in order
    occurred_at timestamptz,                                -- as the vendor says
    received_at timestamptz not null default clock_timestamp(),
    job_id      uuid        not null,
    primary key (integration, event_id)
);
create index webhook_event_received_idx on kaixu.webhook_event (received_at);

-- A job that handles an event on its way through an integration's transaction.
alter table kaixu.plugin_job
    add column event_id     text,
    add column event_webhook text,
    add column event_type   text,
    add column event_object text,
    add column occurred_at  timestamptz;
