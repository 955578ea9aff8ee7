-- What happened: the operator's changes, and what the monitor shows.

-- Append-only: every change by an operator, with the row before and after. No key material, no secrets.
create table kaixu.audit_event (
    id          bigint generated always as identity primary key,
    actor       text        not null,
    action      text        not null,
    target      text        not null,
    before      jsonb,
    after       jsonb,
    meta        jsonb       not null default '{}',
    request_id  text,
    created_at  timestamptz not null default now()
);
create index audit_event_created_idx on kaixu.audit_event (created_at desc);
create index audit_event_target_idx on kaixu.audit_event (target, created_at desc);

create rule audit_event_is_never_changed as on update to kaixu.audit_event do instead nothing;
create rule audit_event_is_never_deleted as on delete to kaixu.audit_event do instead nothing;

create table kaixu.gateway_event (
    id              bigint generated always as identity primary key,
    request_id      text,
    level           text        not null default 'info' check (level in ('info', 'warn', 'error')),
    kind            text        not null,
    function_name   text,
    method          text,
    path            text,
    origin          text,
    referer         text,
    user_agent      text,
    ip_hash         text,
    app_id          text,
    build_id        text,
    customer_id     bigint,
    key_id          bigint,
    provider        text,
    model           text,
    http_status     integer,
    duration_ms     integer,
    error_code      text,
    error_message   text,
    upstream_status integer,
    extra           jsonb       not null default '{}',
    created_at      timestamptz not null default now()
);
create index gateway_event_created_idx on kaixu.gateway_event (created_at);
create index gateway_event_kind_idx on kaixu.gateway_event (kind, id);
create index gateway_event_request_idx on kaixu.gateway_event (request_id);

create table kaixu.alert_sent (
    customer_id bigint      not null,
    chain_id    bigint      not null default 0,     -- 0: the customer's own
    month       date        not null,
    alert       text        not null,
    created_at  timestamptz not null default now(),
    primary key (customer_id, chain_id, month, alert)
);
