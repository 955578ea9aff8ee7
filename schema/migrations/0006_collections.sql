-- Collections: texts with their vectors, for search by meaning. Needs pgvector >= 0.8.

create extension if not exists vector;

alter table kaixu.customer add column max_vectors bigint check (max_vectors >= 0);   -- null: the gateway's default
alter table kaixu.virtual_key add column allowed_collections text[];                 -- null: every one of the customer's
-- What a call that is under way may add to its customer's collections, at most.
alter table kaixu.reservation add column vectors integer not null default 0 check (vectors >= 0);

create table kaixu.collection (
    id              bigint generated always as identity primary key,
    customer_id     bigint      not null references kaixu.customer (id),
    name            text        not null,
    provider        text        not null,               -- whose model made every vector in it: public names
    model           text        not null,
    dimensions      integer     not null check (dimensions between 1 and 16000),
    language        regconfig   not null,               -- how its words are stemmed for full-text search
    vectors         bigint      not null default 0 check (vectors >= 0),
    index_state     text        not null default 'none' check (index_state in ('none', 'ready')),
    indexing_until  timestamptz not null default '-infinity',   -- the lease of who builds its indexes
    replaces_id     bigint,                             -- set: the new copy of a collection that is being re-embedded
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    deleted_at      timestamptz                         -- set: unseen, its rows are being removed
);
-- A deleted one, and a copy that is not finished, have no name that could be asked for.
create unique index collection_name_key on kaixu.collection (customer_id, name)
    where deleted_at is null and replaces_id is null;
create index collection_customer_idx on kaixu.collection (customer_id, id);
create index collection_deleted_idx on kaixu.collection (id) where deleted_at is not null;

-- A text, or one chunk of it, with its vector. In parts by collection, for every large collection has indexes of its
-- own: a plan looks at those of one part only.
create table kaixu.document (
    collection_id   bigint      not null,
    doc_id          text        not null,
    chunk           integer     not null default 0,     -- its number among the chunks of its document
    starts_at       integer     not null default 0,     -- where it begins in the whole text, in characters
    customer_id     bigint      not null,
    body            text        not null,
    metadata        jsonb       not null default '{}',
    embedding       vector      not null,
    words           tsvector    not null,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    primary key (collection_id, doc_id, chunk)
) partition by hash (collection_id);

do $$
begin
    for part in 0..15 loop
        execute format('create table kaixu.document_%s partition of kaixu.document for values with (modulus 16, remainder %s)',
                       to_char(part, 'FM00'), part);
        -- Vectors lie beside their rows as long as they fit, not elsewhere: exact search reads every one of them.
        execute format('alter table kaixu.document_%s alter column embedding set storage main', to_char(part, 'FM00'));
        execute format('alter table kaixu.document_%s set (autovacuum_vacuum_scale_factor = 0.05)', to_char(part, 'FM00'));
    end loop;
end
$$;

-- A collection on its way to another model; worked on by whichever gateway holds its lease.
create table kaixu.reembedding (
    id              bigint generated always as identity primary key,
    customer_id     bigint      not null,
    key_id          bigint      not null,               -- who asked, and pays
    install_id      text,
    collection_id   bigint      not null,
    copy_id         bigint      not null,
    state           text        not null default 'running' check (state in ('running', 'done', 'failed', 'cancelled')),
    done            bigint      not null default 0,
    total           bigint      not null,
    error_code      text,
    error_message   text,
    request_id      text        not null,
    attempts        integer     not null default 0,
    leased_until    timestamptz not null default '-infinity',
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now()
);
create unique index reembedding_running_key on kaixu.reembedding (collection_id) where state = 'running';
create index reembedding_customer_idx on kaixu.reembedding (customer_id, collection_id, id desc);
