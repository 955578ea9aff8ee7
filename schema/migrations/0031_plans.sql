-- Plans of kaixu.yaml, redemption codes, and the deletion of customers.

-- Every version of a plan. The newest one of a name is in force. Null settings: the file has the plan no longer.
create table kaixu.plan_version (
    id          bigint generated always as identity primary key,
    name        text        not null,
    settings    jsonb,                      -- by column of customer and of virtual_key; money in nano-dollars
    created_at  timestamptz not null default now()
);
create index plan_version_name_idx on kaixu.plan_version (name, id);

-- A plan's values are written to the rows of its customers and of their keys, so that admission reads no plan.
alter table kaixu.customer
    add column plan_version_id          bigint,                         -- whose values the row has; null: the plan is a label
    add column from_plan                text[]      not null default '{}',  -- the columns whose values are the plan's
    add column price_factor_millionths  integer     not null default 1000000 check (price_factor_millionths >= 0),
    add column deleted_at               timestamptz;
create index customer_price_factor_idx on kaixu.customer (id) where price_factor_millionths <> 1000000;
create index customer_plan_idx on kaixu.customer (plan_name, id);
alter table kaixu.virtual_key
    add column from_plan                text[]      not null default '{}';

-- Codes that customers redeem for a top-up. What was made at once is a batch.
create table kaixu.code_batch (
    id                  bigint generated always as identity primary key,
    idempotency_key     text        not null,
    amount_nusd         bigint      not null check (amount_nusd > 0),
    expires_at          timestamptz not null,
    email_domain        text,                       -- lower case; null: every customer
    plan_name           text,                       -- null: customers of every plan
    note                text,
    codes               integer     not null check (codes > 0),
    created_by          text        not null,
    created_at          timestamptz not null default now(),
    unique (idempotency_key)
);

create table kaixu.redemption_code (
    id                  bigint generated always as identity primary key,
    batch_id            bigint      not null references kaixu.code_batch (id),
    code_hash           bytea       not null,       -- HMAC-SHA256(pepper, code)
    last4               text        not null,
    customer_id         bigint,                     -- who redeemed it
    redeemed_at         timestamptz,
    revoked_at          timestamptz,
    check ((customer_id is null) = (redeemed_at is null)),
    check (redeemed_at is null or revoked_at is null)
);
create unique index redemption_code_hash_key on kaixu.redemption_code (code_hash);
create index redemption_code_batch_idx on kaixu.redemption_code (batch_id, id);
create index redemption_code_customer_idx on kaixu.redemption_code (customer_id) where customer_id is not null;

-- Codes that do not exist, as they were tried: by customer, and by network.
create table kaixu.redemption_try (
    subject     bytea           primary key,
    tried_at    timestamptz[]   not null default '{}',      -- those that still count, oldest first
    last_at     timestamptz     not null default now()
);

-- The deletion of a customer, step by step, so that one that was interrupted is continued.
create table kaixu.customer_deletion (
    customer_id     bigint      primary key,
    actor           text        not null,
    began_at        timestamptz not null default now(),
    removed         jsonb       not null default '{}',      -- rows by table
    finished_at     timestamptz
);
