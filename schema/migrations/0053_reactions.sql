-- Reactions of integrations to what happens to a customer: a job, written in the transaction in which it happens.

-- What the integrations that are on react to; written when a gateway starts and reloads.
create table kaixu.reaction (
    integration         text    not null,
    event               text    not null,
    kind                text    not null,                   -- of the job
    most_attempts       integer not null,
    threshold           text,                               -- balance_below: the setting that is compared
    threshold_unit_nusd bigint,                             -- and what one of it is worth
    threshold_default   bigint,                             -- where a customer has none
    enabled             text,                               -- the setting that must be true; null: none must
    primary key (integration, event)
);

-- The customers whose balance is compared with a threshold.
create table kaixu.balance_watch (
    customer_id     bigint      not null references kaixu.customer (id),
    integration     text        not null,
    threshold_nusd  bigint      not null,
    month           date        not null,                   -- in which it was armed or has crossed; a new month arms it
    is_armed        boolean     not null,                   -- false: it is below, and that has been told
    rearm_at        timestamptz,                            -- when it is armed again though it is still below
    primary key (customer_id, integration)
);
create index balance_watch_rearm_idx on kaixu.balance_watch (rearm_at) where rearm_at is not null;
create index balance_watch_month_idx on kaixu.balance_watch (month);

-- Whether there is a row in balance_watch: settlements of all others look no further.
alter table kaixu.customer add column is_watched boolean not null default false;

-- What the job of a reaction is about. Its id is that of the job: the name of the crossing.
create table kaixu.crossing (
    id              uuid        primary key,
    customer_id     bigint      not null,
    integration     text        not null,
    event           text        not null,
    body            jsonb       not null,                   -- the figures, money in nano-dollars
    crossed_at      timestamptz not null default clock_timestamp()
);
create index crossing_customer_idx on kaixu.crossing (customer_id);
create index crossing_crossed_idx on kaixu.crossing (crossed_at);
