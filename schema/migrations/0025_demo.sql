-- What `kaixu seed-demo` has made: its customers are those with these ids, and nothing else is its own.

create table kaixu.demo (
    only_row        boolean     primary key default true check (only_row),
    seed            bigint      not null,
    customers       integer     not null check (customers > 0),
    events          integer     not null check (events >= 0),
    until           timestamptz not null,       -- the end of its history
    first_customer  bigint      not null,
    first_key       bigint      not null,       -- three ids for each customer, of which some are used
    price_ids       bigint[]    not null,
    months_done     date[]      not null default '{}',
    is_complete     boolean     not null default false,
    created_at      timestamptz not null default now()
);
