-- What is spent: price versions, months, reservations, usage events, top-ups. Money is whole nano-dollars (1e-9 USD).

-- A price as it stood: every usage event names the one it was billed by.
create table kaixu.price (
    id          bigint generated always as identity primary key,
    provider    text        not null,
    model       text        not null,
    rates       jsonb       not null,   -- nano-dollars per million tokens (or per unit), by kind of token; {}: unpriced
    vendor      jsonb,                  -- the same, as the vendor charges; null where the operator did not say
    created_at  timestamptz not null default now()
);
create unique index price_version_key on kaixu.price (provider, model, rates, coalesce(vendor, 'null'::jsonb));

create table kaixu.customer_month (
    customer_id         bigint      not null,
    month               date        not null,
    book                text        not null default 'ai',
    spent_nusd          bigint      not null default 0,
    held_nusd           bigint      not null default 0 check (held_nusd >= 0),
    extra_nusd          bigint      not null default 0,     -- top-ups: they raise this month's cap
    vendor_cost_nusd    bigint      not null default 0,
    calls               bigint      not null default 0,
    input_tokens        bigint      not null default 0,
    output_tokens       bigint      not null default 0,
    updated_at          timestamptz not null default now(),
    primary key (customer_id, month, book)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

create table kaixu.key_month (
    chain_id            bigint      not null,
    month               date        not null,
    book                text        not null default 'ai',
    customer_id         bigint      not null,
    spent_nusd          bigint      not null default 0,
    held_nusd           bigint      not null default 0 check (held_nusd >= 0),
    vendor_cost_nusd    bigint      not null default 0,
    calls               bigint      not null default 0,
    input_tokens        bigint      not null default 0,
    output_tokens       bigint      not null default 0,
    updated_at          timestamptz not null default now(),
    primary key (chain_id, month, book)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create index key_month_customer_idx on kaixu.key_month (customer_id, month);

-- A call in flight and the most it can cost. Small and short-lived: no index but the key.
create table kaixu.reservation (
    ticket      uuid        primary key,
    customer_id bigint      not null,
    key_id      bigint      not null,
    chain_id    bigint      not null,
    month       date        not null,
    book        text        not null,
    held_nusd   bigint      not null check (held_nusd >= 0),
    operation   text        not null,
    provider    text        not null,
    model       text        not null,
    price_id    bigint      not null,
    install_id  text,
    request_id  text        not null,
    owner       uuid        not null,   -- the gateway process that renews it
    created_at  timestamptz not null default now(),
    expires_at  timestamptz not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What a call used and cost. Written once, by its ticket; a 'lost' one may be replaced by the truth that came late.
create table kaixu.usage_event (
    id                  bigint generated always as identity,
    ticket              uuid        not null,
    month               date        not null,   -- the month of its admission
    customer_id         bigint      not null,
    key_id              bigint      not null,
    chain_id            bigint      not null,
    book                text        not null,
    operation           text        not null,
    provider            text        not null,
    model               text        not null,
    price_id            bigint      not null,
    cost_nusd           bigint      not null,
    vendor_cost_nusd    bigint      not null default 0,
    input_tokens        bigint      not null default 0,
    output_tokens       bigint      not null default 0,
    cached_input_tokens bigint      not null default 0,
    cache_write_tokens  bigint      not null default 0,
    reasoning_tokens    bigint      not null default 0,
    units               jsonb,                  -- what an operation counted, where it is not tokens
    usage_source        text        not null check (usage_source in ('provider', 'counted', 'estimated')),
    end_reason          text        not null check (end_reason in ('complete', 'client_gone', 'upstream_error', 'budget_cut', 'lost')),
    install_id          text,
    request_id          text        not null,
    admitted_at         timestamptz not null,
    duration_ms         integer     not null default 0,
    created_at          timestamptz not null default now(),
    primary key (month, ticket)
) partition by range (month);
create table kaixu.usage_event_other partition of kaixu.usage_event default;
create index usage_event_customer_idx on kaixu.usage_event (customer_id, created_at);
create index usage_event_key_idx on kaixu.usage_event (chain_id, created_at);
create index usage_event_id_idx on kaixu.usage_event (id);

create table kaixu.topup (
    id                  bigint generated always as identity primary key,
    idempotency_key     text        not null,
    customer_id         bigint      not null references kaixu.customer (id),
    month               date        not null,
    amount_nusd         bigint      not null check (amount_nusd > 0),
    source              text        not null default 'manual',
    status              text        not null default 'applied',
    created_at          timestamptz not null default now()
);
create unique index topup_idempotency_key on kaixu.topup (idempotency_key);
create index topup_customer_idx on kaixu.topup (customer_id, month);
