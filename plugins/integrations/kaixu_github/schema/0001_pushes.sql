-- A push: one ZIP that becomes one commit. `status` is what the handlers decide; whether a worker is at it, or when it
-- is tried again, is known by the queue (`queue_id`).
create table push (
    id               bigint generated always as identity primary key,
    customer_id      bigint not null,
    key_id           bigint,
    job_id           text not null unique,
    owner            text not null,
    repo             text not null,
    branch           text not null,
    message          text not null,
    mode             text not null check (mode in ('merge', 'replace')),
    author_name      text,
    author_email     text,
    allow_secrets    boolean not null default false,
    force            boolean not null default false,
    expected_head    text,
    pull_request     boolean not null default false,
    pull_title       text,
    pull_body        text,
    parts            integer,
    bytes_staged     bigint not null default 0,
    queue_id         uuid,
    queued_at        timestamptz,
    status           text not null default 'uploading' check (status in ('uploading', 'queued', 'done', 'error')),
    attempts         integer not null default 0,
    limits           integer not null default 0,   -- how often GitHub's limits were waited for
    error_code       text,
    error            text,
    error_at         timestamptz,
    planned_commit   text,                         -- noted before it is sent
    "commit"         text,
    url              text,
    pull_request_url text,
    is_unchanged     boolean not null default false,
    files            integer,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now()
);
create index on push (customer_id, id desc);
create index on push (customer_id, updated_at desc);

-- The parts of a ZIP that have arrived; their bytes are kept blobs.
create table push_part (
    push_id bigint not null references push on delete cascade,
    part    integer not null,
    bytes   bigint not null,
    primary key (push_id, part)
);

-- What happened to a push: init, chunk, queue, done, error.
create table push_event (
    id         bigint generated always as identity primary key,
    push_id    bigint not null references push on delete cascade,
    type       text not null,
    bytes      bigint not null default 0,
    meta       jsonb not null default '{}',
    created_at timestamptz not null default now()
);
create index on push_event (push_id);

-- Objects that REST has taken already: another attempt does not send them again.
create table push_object (
    push_id bigint not null references push on delete cascade,
    name    text not null,
    sha     text not null,
    primary key (push_id, name)
);
