-- payment: money that a customer pays, or has paid, at Stripe.
--
-- `reference` is our name for it there: the idempotency key, and in the metadata. `credited_cents` is what the customer
-- has been credited for it in all; what Stripe says it should be is booked as a difference, the `bookings`-th one.
-- `reading` counts how often Stripe was asked about it, `applied` is the newest of these readings that was booked: an
-- older one, which came later, is dropped.
create table payment (
    id              bigint      generated always as identity primary key,
    reference       text        not null unique,
    customer_id     bigint      not null,
    kind            text        not null check (kind in ('checkout', 'auto')),
    status          text        not null check (status in (
                        'creating', 'open', 'pending', 'paid', 'failed', 'expired', 'declined', 'authentication',
                        'no_customer')),
    month           text        not null,
    amount_cents    bigint      not null check (amount_cents > 0),
    currency        text        not null,
    session_id      text        unique,
    payment_intent  text        unique,
    url             text,                       -- Stripe's page for it
    paid_cents      bigint      not null default 0,
    refunded_cents  bigint      not null default 0,
    disputed_cents  bigint      not null default 0,
    credited_cents  bigint      not null default 0,
    change_cents    bigint      not null default 0,     -- what the last booking was
    bookings        integer     not null default 0,
    reading         bigint      not null default 0,
    applied         bigint      not null default 0,
    reason          text,                       -- Stripe's code for what went wrong
    receipt_url     text,
    card_brand      text,
    card_last4      text,
    crossing        uuid        unique,         -- of an automatic top-up: what it is for
    day             date,                       -- of an automatic top-up: the day that it counts in, and its number
    day_number      integer,
    looked_at       timestamptz,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    unique (customer_id, day, day_number)
);
create index payment_customer_idx on payment (customer_id, created_at desc);
create index payment_open_idx on payment (looked_at) where status in ('creating', 'open', 'pending');

create table dispute (
    id              text        primary key,
    payment_id      bigint      not null references payment (id),
    customer_id     bigint      not null,
    status          text        not null,
    amount_cents    bigint      not null,
    reason          text        not null,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now()
);
create index dispute_payment_idx on dispute (payment_id);

-- card: saved at Stripe for automatic top-ups; here is what may be shown of it.
create table card (
    id              text        primary key,
    customer_id     bigint      not null,
    brand           text        not null,
    last4           text        not null,
    exp_month       integer,
    exp_year        integer,
    created_at      timestamptz not null default now()
);
create index card_customer_idx on card (customer_id, created_at desc);

-- event: those of Stripe that are about a payment of ours, and whether they were handled.
create table event (
    id              text        primary key,
    type            text        not null,
    payment_id      bigint      references payment (id),
    attempts        integer     not null default 1,
    error           text,
    received_at     timestamptz not null default now(),
    handled_at      timestamptz
);
create index event_failed_idx on event (received_at) where handled_at is null;

-- cursor: how far a schedule has come.
create table cursor (
    name            text        primary key,
    at              timestamptz not null
);
