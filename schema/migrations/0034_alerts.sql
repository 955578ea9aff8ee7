-- Alerts: what was raised, each once; what has been told about each cap; the state of deployments and of receivers.

-- An alert, and the outbox of alerts: written in the transaction that decides it, and dispatched to its receivers
-- (webhooks and mails, by the configuration of that moment) by whichever gateway comes first.
create table kaixu.alert (
    id              bigint      generated always as identity primary key,
    type            text        not null,                   -- 'CAP_WARN_KEY'
    once            text,                                   -- raised once under this name; null: another row decides
    customer_id     bigint,                                 -- null: of no customer
    key_id          bigint,
    receiver        text,                                   -- the receiver that it is about, which does not get it
    body            jsonb       not null,                   -- the figures, money in nano-dollars
    mailed_to       text[]      not null default '{}',      -- the addresses, as in the keys of its mails
    created_at      timestamptz not null default now(),
    dispatched_at   timestamptz                             -- null: webhooks and mails are still to be queued
);
create unique index alert_once_key on kaixu.alert (once) where once is not null;
create index alert_waiting_idx on kaixu.alert (id) where dispatched_at is null;
create index alert_customer_idx on kaixu.alert (customer_id, id);
create index alert_type_idx on kaixu.alert (type, id);
create index alert_created_idx on kaixu.alert (created_at);

-- What has been told about a cap in a month.
create table kaixu.cap_alert (
    customer_id         bigint      not null,
    chain_id            bigint      not null,               -- 0: the customer's own cap
    month               date        not null,
    told_pct            integer     not null default 0,     -- thresholds up to it are not told again
    refused_at          timestamptz,                        -- calls are refused since then; null: none is, as far as known
    refused_cap_nusd    bigint,                             -- the cap at that time; a higher one ends it
    updated_at          timestamptz not null default now(),
    primary key (customer_id, chain_id, month)
) with (fillfactor = 70);

-- Caps to be checked: something has been spent of them, or they were changed. Without a key: whoever notes one waits for
-- nobody.
create table kaixu.cap_check (
    customer_id bigint  not null,
    chain_id    bigint  not null,                           -- 0: the customer's own cap
    month       date    not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Alerts of this month that earlier releases have raised are not raised again.
insert into kaixu.cap_alert (customer_id, chain_id, month, told_pct)
select a.customer_id, a.chain_id, a.month, max(case when a.alert like 'CAP_REACHED_%' then 100 else 99 end)
  from kaixu.alert_sent a
 where a.month >= date_trunc('month', now() at time zone 'UTC')::date
 group by a.customer_id, a.chain_id, a.month;

-- Null: as the customer, or the gateway.
alter table kaixu.customer add column alert_thresholds integer[], add column alert_mail boolean;
alter table kaixu.virtual_key add column alert_thresholds integer[];

-- A customer's own webhook for its alerts.
create table kaixu.alert_webhook (
    customer_id bigint      primary key,
    url         bytea       not null,                       -- sealed: whoever knows the URL may write to it
    updated_at  timestamptz not null default now()
);

-- Whether a deployment works, as all gateways together see it.
create table kaixu.vendor_state (
    lane            text        not null,
    upstream        text        not null,                   -- the vendor's name of the model
    is_down         boolean     not null default false,
    since           timestamptz not null default now(),     -- of this state
    failed_at       timestamptz,                            -- the last failure that a gateway has reported
    answered_at     timestamptz,                            -- the first answer after it
    outages         integer     not null default 0,         -- that followed each other within an hour
    primary key (lane, upstream)
);

-- Receivers of webhooks that fail. A receiver that works has no row.
create table kaixu.receiver_failure (
    receiver        text        primary key,                -- as in webhook_delivery.destination, or 'jobs:ID'
    customer_id     bigint,                                 -- whose it is; null: the operator's
    failures        integer     not null,                   -- attempts in a row
    failing_since   timestamptz not null default now(),
    told_at         timestamptz
);
create index receiver_failure_customer_idx on kaixu.receiver_failure (customer_id);

-- Which alert a delivery is of; null: written by an earlier release.
alter table kaixu.webhook_delivery add column alert_id bigint, add column customer_id bigint;
create index webhook_delivery_alert_idx on kaixu.webhook_delivery (alert_id);
create index webhook_delivery_customer_idx on kaixu.webhook_delivery (customer_id) where customer_id is not null;
