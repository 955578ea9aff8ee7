-- kaixu__plugin.kept_blobs: blobs by the beginning of their names, as the gateway has noted under p_access; see kept_blobs.
--
-- Called by an integration's own role, in its transaction, which sees what it has kept itself; only blobs of its own
-- integration and of the call's customer. Runs as the gateway's user.
create or replace function kaixu__plugin.kept_blobs(p_access uuid)
returns table (name text, id uuid, bytes bigint, hash text, digest text, expires_at timestamptz)
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select k.name, k.id, k.bytes, k.hash, k.digest, k.expires_at
      from kaixu.take_blob_access(p_access, session_user::text) a
     cross join lateral kaixu.kept_blobs(a.integration, a.customer_id, a.name, 10001) k
$$;
revoke all on function kaixu__plugin.kept_blobs(uuid) from public;
