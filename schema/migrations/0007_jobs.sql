-- Work that outlives its caller. A job is claimed with a lease; whoever holds the claim ends it, together with its bill.
create table kaixu.job (
    id                  uuid        primary key,
    kind                text        not null,               -- 'chat', 'embed', '<integration>.<job>'
    customer_id         bigint      references kaixu.customer (id),     -- null: the gateway's own
    account             bigint      not null generated always as (coalesce(customer_id, 0)) stored,
    key_id              bigint      references kaixu.virtual_key (id),
    install_id          text,
    request_id          text        not null,
    status              text        not null default 'queued'
                                    check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    provider            text,
    model               text,
    requested_provider  text,
    requested_model     text,
    payload             bytea       not null,               -- sealed
    result              bytea,                              -- sealed
    output_len          bigint,                             -- characters of text in the result
    most_attempts       integer     not null,
    attempts            integer     not null default 0,     -- that failed
    losses              integer     not null default 0,     -- whose worker was heard of no more
    run_after           timestamptz not null default now(),
    claim               uuid,                               -- of the worker that runs it; a new one each time
    owner               uuid,                               -- that worker's process
    leased_until        timestamptz,
    heartbeat_at        timestamptz,
    cancel_asked        boolean     not null default false,
    done                bigint,                             -- how far it says it is
    total               bigint,
    ticket              uuid,                               -- of the running attempt, then of the one that was billed
    month               date,                               -- of its bill
    error_code          text,
    error_message       text,
    idempotency_key     text,
    batch_id            uuid,
    batch_line          integer,
    webhook             bytea,                              -- sealed: where to tell of its end
    webhook_attempts    integer     not null default 0,
    webhook_after       timestamptz,                        -- null: nothing is to be told, or any more
    webhook_told_at     timestamptz,
    created_at          timestamptz not null default now(),
    started_at          timestamptz,
    completed_at        timestamptz
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create unique index job_idempotency_key on kaixu.job (account, kind, idempotency_key) where idempotency_key is not null;
create index job_queued_idx on kaixu.job (account, run_after, id) where status = 'queued';
create index job_running_idx on kaixu.job (leased_until) where status = 'running';
create index job_customer_idx on kaixu.job (customer_id, created_at);
create index job_batch_idx on kaixu.job (batch_id, batch_line) where batch_id is not null;
create index job_completed_idx on kaixu.job (completed_at) where completed_at is not null;
create index job_unended_idx on kaixu.job (created_at) where completed_at is null;
create index job_webhook_idx on kaixu.job (webhook_after) where webhook_after is not null;
