-- What integrations have begun at a vendor with a customer's browser, until the browser comes back.
create table kaixu.callback_state (
    state_hash  bytea       primary key,                    -- SHA-256 of the state, which only the browser and the vendor have
    integration text        not null,
    callback    text        not null,
    customer_id bigint,
    key_id      bigint,                                     -- the key that began it; null: an operator
    is_bound    boolean     not null,                       -- to one browser, and used once
    cookie_hash bytea       not null,
    sealed      bytea       not null,                       -- the verifier, and what the integration has noted
    expires_at  timestamptz not null,
    used_at     timestamptz
);
create index callback_state_expires_idx on kaixu.callback_state (expires_at);
create index callback_state_customer_idx on kaixu.callback_state (customer_id);
