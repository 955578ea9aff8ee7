-- The surfaces that belong to a gateway: operators' notes, their documents, and what looking at them found.
-- Which surfaces there are is in kaixu.yaml; rows of one that is no longer there stay, and are not shown.

-- What operators note about a surface. A row is replaced as a whole.
create table kaixu.platform_ops (
    app_id              text        primary key,
    health_status       text        not null default 'unreviewed'
                                    check (health_status in ('unreviewed', 'healthy', 'warning', 'critical')),
    onboarding_stage    text        not null default 'untracked'
                                    check (onboarding_stage in ('untracked', 'queued', 'in-progress', 'blocked', 'complete')),
    lifecycle_status    text        not null default 'active'
                                    check (lifecycle_status in ('active', 'maintenance', 'paused', 'rebuild')),
    owner               text,
    notes               text,
    flags               jsonb       not null default '{}',
    updated_by          text        not null default '',
    last_checked_at     timestamptz,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now()
);

-- A surface's own document, of at most 256 KiB.
create table kaixu.platform_state (
    app_id      text        primary key,
    state       jsonb       not null default '{}',
    updated_by  text        not null default '',
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now()
);

-- What looking at another server found: a surface's health, or the station's brain. `due_at` is the turn to look: the
-- gateway that moved it on looks, and writes what it found only while it has not been moved on again.
create table kaixu.remote_check (
    what        text        not null,   -- 'surface:<app id>' or 'brain'
    url         text        not null,   -- a row for each, so that gateways with different files do not take turns
    due_at      timestamptz not null,
    checked_at  timestamptz,            -- null: not looked at yet
    changed_at  timestamptz,            -- since when `ok` is what it is
    ok          boolean,
    status      integer,
    ms          integer,
    error       text,                   -- words of ours
    endpoint    text,                   -- the path that answered
    remote      text,                   -- the JSON that it answered; for operators only
    primary key (what, url)
);

-- The figures of a month over all customers.
create index customer_month_month_idx on kaixu.customer_month (month);
create index topup_month_idx on kaixu.topup (month, id);
