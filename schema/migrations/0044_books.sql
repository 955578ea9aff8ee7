-- Books of integrations: their caps, their price lists by version, and the months that a version counts in.
-- docs/decisions/0043.

-- The books that integrations have declared, as the gateway that started last knows them.
create table kaixu.book (
    name                text        primary key,    -- as in customer_month.book
    integration         text        not null,
    title               text        not null,
    has_own_cap         boolean     not null,
    cap_setting         text,                       -- the customer's setting that has the cap, in USD
    default_cap_nusd    bigint,                     -- of customers without that setting; null: no cap
    version_setting     text                        -- the customer's setting that names the price list
);

-- The price of a charge in a version of an integration's price list.
create table kaixu.book_price (
    integration text    not null,
    version     text    not null,                   -- 'default': the section's `price`
    charge      text    not null,
    book        text    not null,
    kind        text    not null check (kind in ('call', 'unit', 'month')),
    unit        text    not null,                   -- what the event counts
    per         bigint  not null check (per > 0),
    price_nusd  bigint  not null,
    price_id    bigint  not null,
    primary key (integration, version, charge)
);

-- Fixed by the first charge or hold of a month: another version counts from the next month on.
create table kaixu.book_month (
    customer_id bigint  not null,
    month       date    not null,
    book        text    not null,
    version     text    not null,
    primary key (customer_id, month, book)
);

-- Whether the spending of this row counts against a cap of the book, and not against those of the customer and the key.
-- Fixed by the first call of a month.
alter table kaixu.customer_month add column has_own_cap boolean not null default false;
alter table kaixu.key_month add column has_own_cap boolean not null default false;
