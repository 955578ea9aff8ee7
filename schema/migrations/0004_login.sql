-- Tries of the operator's password, so that guessing is slow whichever replica is asked.

create table kaixu.login_try (
    address_hash    bytea           primary key,    -- HMAC of the client's address; empty: everybody together
    tried_at        timestamptz[]   not null default '{}',  -- the tries that still count, oldest first
    succeeded_at    timestamptz,                    -- the last time the right password came from there
    last_at         timestamptz     not null default now()
);
insert into kaixu.login_try (address_hash) values ('');
