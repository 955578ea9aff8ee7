create table parcel (
    id          bigint generated always as identity primary key,
    customer_id bigint not null,
    name        text   not null,
    state       text   not null default 'waiting',
    bytes       bigint not null default 0,
    sent_at     timestamptz
);
