-- Jobs of integrations that wait, that run one at a time, that are unique while they last, and whose end is reported.
alter table kaixu.job
    add column unique_key       text,                       -- unique among the unended jobs of its account and kind
    add column serial           text,                       -- of an integration's jobs with the same value one runs at a time
    add column serial_no        bigint,                     -- in this order
    add column at_once          integer,                    -- how many of its account and kind may run at a time; null: any
    add column pause            text        check (pause in ('waiting', 'blocked')),    -- why a queued job does not run
    add column needs_nusd       bigint,                     -- what a blocked one could cost
    add column reports_failure  boolean     not null default false,     -- whether its integration handles its failure
    add column failure_due_at   timestamptz,                -- it has ended without success, and that is to be handled
    add column failure_tries    integer     not null default 0;
create sequence kaixu.job_serial_no;
create unique index job_unique_key on kaixu.job (account, kind, unique_key)
    where unique_key is not null and completed_at is null;
create index job_serial_idx on kaixu.job (provider, serial, serial_no) where serial is not null and completed_at is null;
create index job_serial_running_idx on kaixu.job (provider, serial) where serial is not null and status = 'running';
create index job_blocked_idx on kaixu.job (customer_id, created_at) where pause = 'blocked' and status = 'queued';
create index job_failure_idx on kaixu.job (failure_due_at) where failure_due_at is not null;

-- Until now a key was unique for as long as a job was kept.
update kaixu.job
   set unique_key = idempotency_key, idempotency_key = null
 where completed_at is null and idempotency_key is not null and kind not in ('chat', 'embed');

alter table kaixu.plugin_job
    add column serial           text,
    add column at_once          integer,
    add column reports_failure  boolean     not null default false;

-- Which job an integration's transaction may read or cancel: the gateway writes it for one call, with the customer of
-- that call; the transaction may use it once. A crash may forget them all.
create unlogged table kaixu.plugin_job_access (
    id              uuid        primary key,
    integration     text        not null,
    job_id          uuid        not null,
    customer_id     bigint,                                 -- null: a call without a customer, which may any job
    made_at         timestamptz not null default clock_timestamp()
);
