-- kept_blobs: the blobs of this integration and customer whose names begin with p_prefix, by name; at most p_most.
--
-- Lock: none.
create or replace function kaixu.kept_blobs(p_integration text, p_customer_id bigint, p_prefix text, p_most integer)
returns table (name text, id uuid, bytes bigint, hash text, digest text, expires_at timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select b.name, b.id, b.bytes, b.hash, b.digest, b.expires_at
      from kaixu.blob b
     where b.integration = p_integration and b.customer_id = p_customer_id and starts_with(b.name, p_prefix)
       and b.expires_at > clock_timestamp()
     order by b.name collate "C"
     limit p_most
$$;
