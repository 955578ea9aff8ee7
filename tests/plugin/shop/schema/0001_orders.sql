create table orders (
    id          bigint      generated always as identity primary key,
    customer_id bigint      not null,
    item        text        not null,
    payment     text        unique,
    paid        integer     not null default 0,
    created_at  timestamptz not null default now()
);
