-- drop_blobs: remove the blobs of this integration and customer whose names begin with p_prefix; returns how many.
--
-- One that a job still uses loses its name at once, and is removed when the job has ended.
-- Lock: the blobs' rows, in the order of their ids.
create or replace function kaixu.drop_blobs(p_integration text, p_customer_id bigint, p_prefix text)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
    with named as (
        select b.id, exists (select from kaixu.blob_use u where u.blob_id = b.id) as is_used
          from kaixu.blob b
         where b.integration = p_integration and b.customer_id = p_customer_id and starts_with(b.name, p_prefix)
         order by b.id
           for update of b
    ), gone as (
        delete from kaixu.blob b using named n where b.id = n.id and not n.is_used returning b.id, b.store_id
    ), noted as (
        insert into kaixu.blob_removal (blob_id, store_id) select g.id, g.store_id from gone g
        on conflict (blob_id) do nothing
    ), unnamed as (
        update kaixu.blob b set name = null, expires_at = clock_timestamp() from named n where b.id = n.id and n.is_used
    )
    select count(*)::integer from named
$$;
