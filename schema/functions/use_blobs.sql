-- use_blobs: let the blobs in the payload of a job live as long as the job. False: one of them is not there any more, or
-- does not belong to the job's customer and integration.
--
-- Lock: the blobs' rows, so that none of them is removed meanwhile.
create or replace function kaixu.use_blobs(p_job_id uuid, p_integration text, p_customer_id bigint, p_ids uuid[])
returns boolean
language plpgsql as $$
declare
    v_count bigint;
begin
    perform from kaixu.blob b where b.id = any (p_ids) order by b.id for no key update;
    insert into kaixu.blob_use (blob_id, job_id)
    select b.id, p_job_id
      from kaixu.blob b
     where b.id = any (p_ids) and b.integration = p_integration and b.customer_id = p_customer_id
       and b.digest is not null
    on conflict do nothing;
    get diagnostics v_count = row_count;
    return v_count = cardinality(p_ids);
end
$$;
