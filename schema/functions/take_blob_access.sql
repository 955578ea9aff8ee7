-- take_blob_access: what a transaction of the role p_role may do with blobs; taken from the note under p_access.
--
-- Raises insufficient_privilege where there is no such note of the last minute for the role's integration.
-- Lock: only the note's row.
create or replace function kaixu.take_blob_access(p_access uuid, p_role text)
returns table (integration text, customer_id bigint, blob_id uuid, name text, for_s double precision)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    delete from kaixu.plugin_blob_access p
     where p.id = p_access
       and p.made_at between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute'
       and exists (select from kaixu.plugin_role o where o.role = p_role and o.integration = p.integration)
    returning p.integration, p.customer_id, p.blob_id, p.name, p.for_s;
    if not found then
        raise exception 'there is no blob to be kept, listed or dropped' using errcode = 'insufficient_privilege';
    end if;
end
$$;
