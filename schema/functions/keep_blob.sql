-- keep_blob: keep a blob of this integration and customer under a name for p_for_s seconds from now; the one that had the
-- name before is removed. False: there is no such blob, or it is still being stored.
--
-- Lock: an advisory lock of the name, until the transaction ends: two transactions cannot keep the same name at once; then
-- the blobs' rows.
create or replace function kaixu.keep_blob(
    p_integration text, p_customer_id bigint, p_id uuid, p_name text, p_for_s double precision
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('kaixu.blob ' || p_customer_id || ' ' || p_integration || ' ' || p_name, 0));
    perform from kaixu.blob b
      where b.id = p_id and b.integration = p_integration and b.customer_id = p_customer_id and b.digest is not null
        for no key update;
    if not found then
        return false;
    end if;
    with gone as (
        delete from kaixu.blob b
         where b.integration = p_integration and b.customer_id = p_customer_id and b.name = p_name and b.id <> p_id
           and not exists (select from kaixu.blob_use u where u.blob_id = b.id)
        returning b.id, b.store_id
    )
    insert into kaixu.blob_removal (blob_id, store_id) select g.id, g.store_id from gone g
    on conflict (blob_id) do nothing;
    -- One that a job still uses only loses its name.
    update kaixu.blob b
       set name = null, expires_at = clock_timestamp()
     where b.integration = p_integration and b.customer_id = p_customer_id and b.name = p_name and b.id <> p_id;
    update kaixu.blob b
       set name = p_name, expires_at = clock_timestamp() + make_interval(secs => p_for_s)
     where b.id = p_id;
    return true;
end
$$;
