-- Integrations log in to the database as roles of their own. What they may ask of the core's tables are the functions
-- of this schema, and nothing else; its name has two underscores, which no integration's can have.
create schema kaixu__plugin;

-- Which integration a role belongs to.
create table kaixu.plugin_role (
    role        text        primary key,
    integration text        not null
);

-- A job on its way through an integration's transaction: the gateway writes it for one call, with the customer and the
-- key of that call; the integration's transaction may take it, once. A crash may forget them all.
create unlogged table kaixu.plugin_job (
    id              uuid        primary key,
    integration     text        not null,
    kind            text        not null,
    customer_id     bigint,
    key_id          bigint,
    install_id      text,
    request_id      text        not null,
    payload         bytea       not null,
    provider        text,
    model           text,
    most_attempts   integer     not null,
    delay_s         double precision not null,
    idempotency_key text,
    made_at         timestamptz not null default clock_timestamp()
);
