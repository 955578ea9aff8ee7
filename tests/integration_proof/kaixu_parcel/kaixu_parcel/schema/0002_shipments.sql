create table shipment (
    customer_id bigint  not null,
    id          text    not null,
    grams       integer not null,
    state       text    not null default 'ordered',
    primary key (customer_id, id)
);
create table payment (
    id          text    primary key,
    customer_id bigint  not null,
    cents       integer not null,
    payer       text             default 'somebody'
);
create index payment_customer_idx on payment (customer_id);
create table letter (
    customer_id bigint not null,
    event       text   not null,
    text        text   not null,
    primary key (customer_id, event)
);
