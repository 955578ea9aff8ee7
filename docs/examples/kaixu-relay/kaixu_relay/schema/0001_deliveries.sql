-- What is to be posted, and what became of it. `message` is forgotten with its row: see the schedule `relay.expire`.
create table delivery (
    id              bigint      generated always as identity primary key,
    customer_id     bigint      not null,
    url             text        not null,
    message         jsonb       not null,
    tries           integer     not null default 0,
    created_at      timestamptz not null default now(),
    delivered_at    timestamptz
);
create index delivery_created_idx on delivery (created_at);
