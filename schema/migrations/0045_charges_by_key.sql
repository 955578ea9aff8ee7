-- Charges that outlive a ticket: held now, billed or released hours later. docs/decisions/0044.

-- One row for each (integration, customer, charge, key), kept: it is what makes a charge happen once.
create table kaixu.keyed_charge (
    ticket      uuid        primary key,        -- follows from integration, customer, charge and key: see charge_ticket
    integration text        not null,
    customer_id bigint      not null,
    charge      text        not null,
    key         text        not null,
    key_id      bigint      not null,
    chain_id    bigint      not null,
    book        text        not null,
    is_monthly  boolean     not null default false,
    state       text        not null check (state in ('held', 'charged', 'released', 'expired')),
    month       date        not null,           -- whose room the hold takes; of a charge, that of its time
    units       bigint      not null check (units >= 0),
    held_nusd   bigint      not null check (held_nusd >= 0),
    cost_nusd   bigint,                         -- of a charge
    price_id    bigint      not null,
    install_id  text,
    app_id      text,
    build_id    text,
    held_at     timestamptz not null default clock_timestamp(),
    expires_at  timestamptz not null,
    ended_at    timestamptz,
    check (state = 'held' or held_nusd = 0)
) with (fillfactor = 70);
create index keyed_charge_expiry_idx on kaixu.keyed_charge (expires_at) where state = 'held';
create index keyed_charge_book_idx on kaixu.keyed_charge (customer_id, month, book);

-- What a call of an integration wants to hold, charge and release when its transaction ends: written by the gateway, done
-- by the integration's role, once, within a minute.
create table kaixu.charge_note (
    id          uuid        primary key,
    integration text        not null,
    customer_id bigint      not null,
    key_id      bigint,
    install_id  text,
    app_id      text,
    build_id    text,
    request_id  text        not null,
    effects     jsonb       not null,
    made_at     timestamptz not null default clock_timestamp()
);
create index charge_note_made_idx on kaixu.charge_note (made_at);
