-- end_blobs: remove the rows of blobs whose time is over, and note that their files are to be removed; returns how many.
--
-- p_ids: those of a call that has ended, whose time is over if they were not kept; null: those of everybody, at most
-- p_most. A blob in the payload of a job lives until the job has ended and its failure was handled.
-- Lock: the blobs' rows; those that another transaction has locked are left for later.
create or replace function kaixu.end_blobs(p_ids uuid[], p_most integer)
returns integer
language sql as $$
    with over as (
        select b.id
          from kaixu.blob b
         where case when p_ids is null then b.expires_at < clock_timestamp() else b.id = any (p_ids) and b.name is null end
           and not exists (
                   select from kaixu.blob_use u
                     join kaixu.job j on j.id = u.job_id
                    where u.blob_id = b.id and (j.completed_at is null or j.failure_due_at is not null))
         limit p_most
           for update of b skip locked
    ), gone as (
        delete from kaixu.blob b using over o where b.id = o.id returning b.id, b.store_id
    ), noted as (
        insert into kaixu.blob_removal (blob_id, store_id) select g.id, g.store_id from gone g
        on conflict (blob_id) do nothing
    )
    select count(*)::integer from gone
$$;
