-- kaixu__plugin.keep_blob: keep a blob under a name, as the gateway has noted under p_access; see keep_blob.
--
-- Called by an integration's own role, in its transaction; only blobs of its own integration and of the call's customer.
-- Runs as the gateway's user.
create or replace function kaixu__plugin.keep_blob(p_access uuid)
returns boolean
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select kaixu.keep_blob(a.integration, a.customer_id, a.blob_id, a.name, a.for_s)
      from kaixu.take_blob_access(p_access, session_user::text) a
$$;
revoke all on function kaixu__plugin.keep_blob(uuid) from public;
