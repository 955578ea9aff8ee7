create table scan (
    id          bigint generated always as identity primary key,
    customer_id bigint not null,
    name        text   not null,
    note        text   not null,
    pages       bigint not null,
    bytes       bigint not null,
    digest      text   not null,
    role        text   not null
);
