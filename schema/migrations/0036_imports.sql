-- What was taken over from another gateway (kaixu import), and the fingerprints of the secrets of this database.

-- A row of the other gateway that has become a customer or a key here. A second import leaves it as it is, also after the
-- customer was deleted here.
create table kaixu.imported (
    source      text        not null,   -- the operator's name of the other gateway
    kind        text        not null check (kind in ('customer', 'key')),
    source_hash bytea       not null,   -- SHA-256 of its id there, so that the row says nothing about a person
    customer_id bigint      not null,
    key_id      bigint,                 -- null: a customer
    created_at  timestamptz not null default now(),
    primary key (source, kind, source_hash)
);
create index imported_customer_idx on kaixu.imported (customer_id);

-- HMAC-SHA256 under the secret, of a salt and the secret's name: it tells whether a secret is the same, and nothing else.
create table kaixu.secret_fingerprint (
    name        text        primary key,    -- KEY_PEPPER | DB_ENCRYPTION_KEY
    salt        bytea       not null,
    fingerprint bytea       not null,
    created_at  timestamptz not null default now()
);
