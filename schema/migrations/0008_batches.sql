-- Many calls at once: a file with a line for each, and the jobs that they become.
create table kaixu.file (
    id          uuid        primary key,
    customer_id bigint      not null references kaixu.customer (id),
    purpose     text        not null,
    filename    text        not null,
    bytes       bigint      not null,
    content     bytea       not null,               -- sealed
    created_at  timestamptz not null default now()
);
create index file_customer_idx on kaixu.file (customer_id, created_at);
create index file_created_idx on kaixu.file (created_at);

create table kaixu.batch (
    id              uuid        primary key,
    customer_id     bigint      not null references kaixu.customer (id),
    key_id          bigint      not null references kaixu.virtual_key (id),
    endpoint        text        not null,
    input_file_id   uuid        not null,
    metadata        jsonb       not null default '{}',
    request_id      text        not null,
    cancelled_at    timestamptz,
    created_at      timestamptz not null default now(),
    expires_at      timestamptz not null
);
create index batch_customer_idx on kaixu.batch (customer_id, created_at);
create index batch_created_idx on kaixu.batch (created_at);
