create table files (
    id          bigint generated always as identity primary key,
    customer_id bigint not null,
    name        text   not null,
    digest      text   not null
);
create table reminders (
    crossing    uuid   primary key,
    customer_id bigint not null
);
