-- What integrations store of a customer without tables of their own: its secrets, and its settings.

create table kaixu.integration_secret (
    customer_id bigint      not null references kaixu.customer (id),
    integration text        not null,
    name        text        not null,
    sealed      bytea       not null,                       -- for this integration, customer and name only
    meta        jsonb       not null default '{}',          -- what may be shown of it
    set_at      timestamptz not null default now(),
    set_by      text        not null,
    primary key (customer_id, integration, name)
);

-- Only values that somebody has set; the others have the integration's defaults.
create table kaixu.integration_setting (
    customer_id bigint      not null references kaixu.customer (id),
    integration text        not null,
    settings    jsonb       not null,
    updated_at  timestamptz not null default now(),
    primary key (customer_id, integration)
);

-- Finds the customer with a value.
create index integration_setting_value_idx on kaixu.integration_setting using gin (settings jsonb_path_ops);
