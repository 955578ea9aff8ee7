create table parcel (
    number      bigint      generated always as identity primary key,
    customer_id bigint      not null,
    grams       integer     not null,
    state       text        not null default 'new',
    tracking    text        unique,
    photo       bytea,
    created_at  timestamptz not null default now()
);
create index parcel_customer_idx on parcel (customer_id);
