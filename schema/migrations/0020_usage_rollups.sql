-- What reports of usage read: roll-ups, usage by app, usage by end user; and the tags of a call.
--
-- New columns are null in the rows that are there: no table is rewritten.

-- The client's `x-kaixu-app` and `x-kaixu-build`, and the request's own `user`.
alter table kaixu.reservation add column app_id text, add column build_id text, add column end_user text;
alter table kaixu.usage_event add column app_id text, add column build_id text, add column end_user text;

-- True: settle or expire has written the event's usage_change. Null: written before roll-ups, fill_usage does it.
alter table kaixu.usage_event add column rolled_up boolean;

-- A job's calls carry the tags of the request that submitted it.
alter table kaixu.job add column app_id text, add column build_id text;
alter table kaixu.plugin_job add column app_id text, add column build_id text;

-- Written by settle and expire in their own transaction, a row a call, and moved into the roll-ups below by fold_usage.
-- A report reads the roll-ups and the rows that still wait here in one statement: it is exact at any moment.
-- A replaced event adds two rows: the old one negated, and the new one. Rows of fill_usage hold several calls.
create table kaixu.usage_change (
    bucket              timestamptz not null,               -- the quarter of an hour (UTC) of the admission
    customer_id         bigint      not null,
    chain_id            bigint      not null,
    provider            text        not null,
    model               text        not null,
    deployment          text        not null default '',    -- '': not known
    book                text        not null,
    calls               integer     not null,
    errors              integer     not null,               -- of the calls, those that did not end 'complete'
    input_tokens        bigint      not null,
    output_tokens       bigint      not null,
    cached_input_tokens bigint      not null,
    cache_write_tokens  bigint      not null,
    reasoning_tokens    bigint      not null,
    spent_nusd          bigint      not null,
    vendor_cost_nusd    bigint      not null,
    uncosted_nusd       bigint      not null,
    latency_class       smallint                            -- of all its calls; null: not counted in the histogram
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- What a roll-up row is about. customer_id and chain_id 0: all customers together.
create table kaixu.usage_series (
    id          bigint generated always as identity primary key,
    customer_id bigint  not null,
    chain_id    bigint  not null,
    provider    text    not null,
    model       text    not null,
    deployment  text    not null,
    book        text    not null,
    unique (customer_id, chain_id, provider, model, deployment, book)
);

create table kaixu.usage_quarter (
    series_id           bigint      not null,
    bucket              timestamptz not null,
    calls               bigint      not null,
    errors              bigint      not null,
    input_tokens        bigint      not null,
    output_tokens       bigint      not null,
    cached_input_tokens bigint      not null,
    cache_write_tokens  bigint      not null,
    reasoning_tokens    bigint      not null,
    spent_nusd          bigint      not null,
    vendor_cost_nusd    bigint      not null,
    uncosted_nusd       bigint      not null,
    latency             bigint[]    not null,               -- calls by latency class: 32 numbers; merged by adding
    primary key (series_id, bucket)
);
create index usage_quarter_bucket_idx on kaixu.usage_quarter (bucket);

-- The same by day of the reporting zone.
create table kaixu.usage_day (
    series_id           bigint      not null,
    day                 date        not null,
    calls               bigint      not null,
    errors              bigint      not null,
    input_tokens        bigint      not null,
    output_tokens       bigint      not null,
    cached_input_tokens bigint      not null,
    cache_write_tokens  bigint      not null,
    reasoning_tokens    bigint      not null,
    spent_nusd          bigint      not null,
    vendor_cost_nusd    bigint      not null,
    uncosted_nusd       bigint      not null,
    latency             bigint[]    not null,
    primary key (series_id, day)
);
create index usage_day_day_idx on kaixu.usage_day (day);

-- Refused and failed calls without a usage event, counted by the monitor's writer. customer_id 0: not known.
create table kaixu.refusal_quarter (
    bucket      timestamptz not null,
    customer_id bigint      not null,
    key_id      bigint      not null,
    provider    text        not null,
    model       text        not null,
    code        text        not null,
    calls       bigint      not null,
    primary key (bucket, customer_id, key_id, provider, model, code)
);
create index refusal_quarter_customer_idx on kaixu.refusal_quarter (customer_id, bucket);

-- The zone of usage_day, and how far the events before the roll-ups are filled in: until filled_at is set, those with
-- next_id <= id < end_id wait. Filling begins when no transaction is older than fill_began_at: a settle that began before
-- this migration may write an event late.
create table kaixu.rollup_state (
    only_row        boolean     primary key default true check (only_row),
    reporting_zone  text        not null default 'UTC',
    next_id         bigint      not null default 0,
    end_id          bigint      not null default 0,
    fill_began_at   timestamptz,
    filled_at       timestamptz,
    updated_at      timestamptz not null default now()
);
insert into kaixu.rollup_state (end_id) select coalesce(max(e.id) + 1, 0) from kaixu.usage_event e;

-- Months of apps. Calls without x-kaixu-app are in no row: they are the rest of customer_month.
create table kaixu.app_month (
    customer_id         bigint  not null,
    month               date    not null,
    app_id              text    not null,
    book                text    not null,
    calls               bigint  not null default 0,
    input_tokens        bigint  not null default 0,
    output_tokens       bigint  not null default 0,
    spent_nusd          bigint  not null default 0,
    vendor_cost_nusd    bigint  not null default 0,
    uncosted_nusd       bigint  not null default 0,
    primary key (customer_id, month, app_id, book)
) with (fillfactor = 70);

-- Months of end users: the request's own `user`. Held and spent in all books together.
create table kaixu.end_user_month (
    customer_id         bigint  not null,
    month               date    not null,
    end_user            text    not null,
    calls               bigint  not null default 0,
    input_tokens        bigint  not null default 0,
    output_tokens       bigint  not null default 0,
    spent_nusd          bigint  not null default 0,
    held_nusd           bigint  not null default 0 check (held_nusd >= 0),
    primary key (customer_id, month, end_user)
) with (fillfactor = 50);

-- The monthly cap of each end user of a customer; null: none. Rows of end_user_cap have a cap of their own.
alter table kaixu.customer add column end_user_cap_nusd bigint check (end_user_cap_nusd >= 0);
create table kaixu.end_user_cap (
    customer_id         bigint      not null,
    end_user            text        not null,
    monthly_cap_nusd    bigint      not null check (monthly_cap_nusd >= 0),
    created_at          timestamptz not null default now(),
    primary key (customer_id, end_user)
);
