-- Answers kept for the same question of the same customer. Sealed; a crash may forget them all.
create unlogged table kaixu.response (
    customer_id bigint      not null,
    question    bytea       not null check (length(question) = 32),     -- a hash of everything that was asked
    answer      bytea       not null,
    created_at  timestamptz not null default now(),
    expires_at  timestamptz not null,
    primary key (customer_id, question)
);
create index response_expires_idx on kaixu.response (expires_at);
