-- Monitor events by day, so that old ones are removed by dropping a partition.
--
-- The rows that are there stay in a table of their own, gateway_event_before, from which the gateway moves them in small
-- steps. Gateways of the last release go on writing: the table's name and its columns stay.
alter table kaixu.gateway_event rename to gateway_event_before;
alter index kaixu.gateway_event_pkey rename to gateway_event_before_pkey;
alter index kaixu.gateway_event_created_idx rename to gateway_event_before_created_idx;
alter index kaixu.gateway_event_kind_idx rename to gateway_event_before_kind_idx;
alter index kaixu.gateway_event_request_idx rename to gateway_event_before_request_idx;

create table kaixu.gateway_event (
    id              bigint generated always as identity,
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
    deployment      text,
    http_status     integer,
    duration_ms     integer,
    request_bytes   bigint,
    response_bytes  bigint,
    error_code      text,
    error_message   text,
    upstream_status integer,
    upstream_body   text,                   -- the vendor's own words, without secrets and prompts
    detail          text,                   -- what the kind leaves open: 'reload', 'tries', 'lost', …
    extra           jsonb       not null default '{}',
    created_at      timestamptz not null default now(),
    primary key (created_at, id)
) partition by range (created_at);

-- What belongs to no partition: events of a clock that is wrong, and those from before the partitions.
create table kaixu.gateway_event_other partition of kaixu.gateway_event default;

create index gateway_event_id_idx on kaixu.gateway_event (id);
create index gateway_event_kind_idx on kaixu.gateway_event (kind, id);
create index gateway_event_request_idx on kaixu.gateway_event (request_id);
create index gateway_event_customer_idx on kaixu.gateway_event (customer_id, id) where customer_id is not null;

select setval(pg_get_serial_sequence('kaixu.gateway_event', 'id'),
              (select coalesce(max(b.id), 0) + 1 from kaixu.gateway_event_before b), false);

-- The batches that were written, so that a batch whose answer was lost is not written and counted twice.
create table kaixu.monitor_batch (
    id          uuid        primary key,
    written_at  timestamptz not null default now()
);
create index monitor_batch_written_idx on kaixu.monitor_batch (written_at);
