-- login_succeeded: the right password came from this address; forget its tries.
create or replace function kaixu.login_succeeded(p_address_hash bytea)
returns void
language sql as $$
    insert into kaixu.login_try (address_hash, succeeded_at) values (p_address_hash, clock_timestamp())
    on conflict (address_hash) do update
       set tried_at = '{}', succeeded_at = excluded.succeeded_at, last_at = excluded.succeeded_at
$$;
