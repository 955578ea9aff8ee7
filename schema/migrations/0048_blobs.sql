-- What integrations store of files that customers have uploaded: a row for each blob; its bytes are in the store of blobs,
-- encrypted in frames with a key of its own.
create table kaixu.blob (
    id          uuid        primary key,
    integration text        not null,
    customer_id bigint      not null references kaixu.customer (id),
    store_id    uuid        not null,                       -- which store of blobs has its files
    bytes       bigint      not null check (bytes >= 0),    -- while it is being stored: what the client has announced
    hash        text        not null,                       -- how the digest is made: 'sha256'
    digest      text,                                       -- in hexadecimal digits; null: it is being stored
    sealed_key  bytea       not null,                       -- the key of its frames
    name        text,                                       -- null: it is not kept
    expires_at  timestamptz not null,                       -- of one that is not kept: unless its call renews it
    created_at  timestamptz not null default clock_timestamp()
);
create unique index blob_name_key on kaixu.blob (customer_id, integration, name) where name is not null;
create index blob_customer_idx on kaixu.blob (customer_id) include (bytes);
create index blob_expires_idx on kaixu.blob (expires_at);

-- Jobs with a blob in their payload: it lives as long as they have not ended.
create table kaixu.blob_use (
    blob_id     uuid        not null references kaixu.blob (id) on delete cascade,
    job_id      uuid        not null references kaixu.job (id) on delete cascade,
    primary key (blob_id, job_id)
);
create index blob_use_job_idx on kaixu.blob_use (job_id);

-- Blobs without a row whose files are to be removed from the store.
create table kaixu.blob_removal (
    blob_id     uuid        primary key,
    store_id    uuid        not null,
    since       timestamptz not null default clock_timestamp()
);
create index blob_removal_store_idx on kaixu.blob_removal (store_id, since);

-- The name of this database in stores of blobs, which several databases may share.
create table kaixu.blob_home (
    id          uuid        not null default gen_random_uuid(),
    is_only     boolean     primary key default true check (is_only)
);
insert into kaixu.blob_home default values;

-- Stores of blobs that gateways use: there should be one.
create table kaixu.blob_store (
    id          uuid        primary key,
    place       text        not null,                       -- as operators know it, without credentials
    seen_at     timestamptz not null default clock_timestamp()
);

-- What transactions of integrations may do with blobs, for a minute: noted by the gateway, done by the integration's role.
create unlogged table kaixu.plugin_blob_access (
    id          uuid        primary key,
    integration text        not null,
    customer_id bigint      not null,
    blob_id     uuid,
    name        text        not null,                       -- or the beginning of names
    for_s       double precision,
    made_at     timestamptz not null default clock_timestamp()
);
create index plugin_blob_access_made_idx on kaixu.plugin_blob_access (made_at);

alter table kaixu.plugin_job add column blobs uuid[] not null default '{}';
