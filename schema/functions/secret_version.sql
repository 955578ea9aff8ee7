-- secret_version: which value of a secret a sealed value is. Each time that one is stored, it is another one.
create or replace function kaixu.secret_version(p_sealed bytea)
returns text
language sql immutable parallel safe as $$
    select left(encode(sha256(p_sealed), 'hex'), 32)
$$;
