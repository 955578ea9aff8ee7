-- kaixu__plugin.drop_blobs: remove blobs by the beginning of their names, as the gateway has noted under p_access; see drop_blobs.
--
-- Called by an integration's own role, in its transaction; only blobs of its own integration and of the call's customer.
-- Runs as the gateway's user.
create or replace function kaixu__plugin.drop_blobs(p_access uuid)
returns integer
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select kaixu.drop_blobs(a.integration, a.customer_id, a.name)
      from kaixu.take_blob_access(p_access, session_user::text) a
$$;
revoke all on function kaixu__plugin.drop_blobs(uuid) from public;
