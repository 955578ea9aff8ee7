-- Named operators, their sessions and tokens; and in the audit log: from where, and whose customer's change it was.

create table kaixu.operator (
    id                  bigint generated always as identity primary key,
    email               text        not null constraint operator_email_key unique,  -- in lower case
    name                text,
    role                text        not null check (role in ('owner', 'operator', 'viewer')),
    password_hash       text,               -- argon2id; null: no login with a password
    totp_secret         bytea,              -- sealed; null: no second factor
    totp_pending        bytea,              -- sealed; offered, but not confirmed yet
    totp_last_step      bigint,             -- the step of the last code that was taken: none is taken twice
    oidc_issuer         text,
    oidc_subject        text,
    disabled_at         timestamptz,
    last_login_at       timestamptz,
    created_at          timestamptz not null default now(),
    constraint operator_oidc_key unique (oidc_issuer, oidc_subject)
);

create table kaixu.operator_recovery_code (
    operator_id bigint      not null references kaixu.operator on delete cascade,
    code_hash   bytea       not null,       -- HMAC under the pepper
    used_at     timestamptz,
    primary key (operator_id, code_hash)
);

create table kaixu.operator_session (
    id              bigint generated always as identity primary key,
    id_hash         bytea       not null unique,    -- SHA-256 of the random id that the token carries
    operator_id     bigint      references kaixu.operator on delete cascade,    -- null: the admin password
    method          text        not null check (method in ('admin_password', 'password', 'oidc')),
    password_mark   bytea,                          -- of the admin password that was used; another password ends it
    address         text,                           -- where it was used last
    user_agent      text,
    created_at      timestamptz not null default now(),
    last_seen_at    timestamptz not null default now(),
    expires_at      timestamptz not null,
    revoked_at      timestamptz,
    revoked_by      text
);
create index operator_session_operator_idx on kaixu.operator_session (operator_id, id desc);
create index operator_session_expires_idx on kaixu.operator_session (expires_at);

create table kaixu.operator_token (
    id              bigint generated always as identity primary key,
    name            text        not null,
    token_hash      bytea       not null unique,    -- HMAC under the pepper
    last4           text        not null,
    scopes          text[]      not null,
    operator_id     bigint      references kaixu.operator on delete cascade,    -- null: made by a command or with the admin password
    created_by      text        not null,
    created_at      timestamptz not null default now(),
    expires_at      timestamptz not null,
    last_used_at    timestamptz,
    last_address    text,
    revoked_at      timestamptz,
    revoked_by      text
);
create unique index operator_token_name_key on kaixu.operator_token (name) where revoked_at is null;

-- A link by which an operator chooses a password, once. Another one of the same operator takes its place.
create table kaixu.operator_invitation (
    operator_id bigint      primary key references kaixu.operator on delete cascade,
    token_hash  bytea       not null unique,    -- SHA-256 of the random token in the link
    expires_at  timestamptz not null
);

-- A login at an identity provider that has begun. The browser holds the secret; only its hash is here.
create table kaixu.operator_oidc_login (
    browser_hash    bytea       primary key,
    created_at      timestamptz not null default now()
);
create index operator_oidc_login_created_idx on kaixu.operator_oidc_login (created_at);

-- The audit log: where a change came from, with which session or token, and the customer it is about.
alter table kaixu.audit_event
    add column address      text,
    add column operator_id  bigint,
    add column session_id   bigint,
    add column token_id     bigint,
    add column customer_id  bigint generated always as (
        case
            when target ~ '^customer:[0-9]{1,18}$' then substr(target, 10)::bigint
            when coalesce(after ->> 'customer_id', before ->> 'customer_id', meta ->> 'customer_id') ~ '^[0-9]{1,18}$'
                then coalesce(after ->> 'customer_id', before ->> 'customer_id', meta ->> 'customer_id')::bigint
        end
    ) stored;
create index audit_event_customer_idx on kaixu.audit_event (customer_id, id desc) where customer_id is not null;
create index audit_event_request_idx on kaixu.audit_event (request_id) where request_id is not null;
