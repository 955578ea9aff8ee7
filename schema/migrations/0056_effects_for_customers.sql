-- What integrations do for customers at the end of a transaction: messages, settings, secrets.

-- Messages of integrations to customers, each once: mailed where the gateway sends mail, and shown in the dashboard.
create table kaixu.integration_message (
    integration text        not null,
    key         text        not null,                       -- the integration's own
    customer_id bigint      not null,
    subject     text        not null,
    paragraphs  jsonb       not null,                       -- a list of texts
    link_text   text,
    link_url    text,
    is_mailed   boolean     not null,                       -- false: no mail is sent, or the customer has had many today
    created_at  timestamptz not null default clock_timestamp(),
    primary key (integration, key)
);
create index integration_message_customer_idx on kaixu.integration_message (customer_id, created_at desc);
create index integration_message_created_idx on kaixu.integration_message (created_at);

-- Effects on their way through an integration's transaction: the gateway writes them for one call; the integration's
-- transaction may have them done, once. A crash may forget them all.
create unlogged table kaixu.plugin_effect (
    id          uuid        primary key,
    integration text        not null,
    customers   bigint[]    not null,                       -- all whose rows the transaction locks
    effects     jsonb       not null,
    most_mails  integer     not null,                       -- to one customer in a day
    actor       text        not null,
    origin      jsonb       not null,                       -- where the change comes from, for the audit log
    request_id  text        not null,
    made_at     timestamptz not null default clock_timestamp()
);
