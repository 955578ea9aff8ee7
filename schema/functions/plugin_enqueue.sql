-- kaixu__plugin.enqueue: submit the job that the gateway has stored under p_job for this call, once.
--
-- Called by an integration's own role, in its transaction: the job exists when that commits. The gateway has written
-- the job's owner and content; the caller can only submit it or not, and only a job of its own integration.
-- Returns the job's id, or that of the unended job with the same key. Runs as the gateway's user.
-- Lock: only the job's row.
create or replace function kaixu__plugin.enqueue(p_job uuid)
returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    r       kaixu.plugin_job;
    v_id    uuid;
begin
    delete from kaixu.plugin_job p
     where p.id = p_job
       and p.made_at between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute'
       and exists (select from kaixu.plugin_role o where o.role = session_user and o.integration = p.integration)
    returning p.* into r;
    if not found then
        raise exception 'there is no job to be handed in' using errcode = 'insufficient_privilege';
    end if;
    -- Another transaction may have made the same job, and not be seen yet by the statement that met it.
    for v_try in 1 .. 10 loop
        insert into kaixu.job (id, kind, customer_id, key_id, install_id, request_id, payload, provider, model,
                               most_attempts, run_after, unique_key, app_id, build_id, serial, serial_no, at_once,
                               reports_failure)
        values (r.id, r.kind, r.customer_id, r.key_id, r.install_id, r.request_id, r.payload, r.provider, r.model,
                r.most_attempts, clock_timestamp() + make_interval(secs => r.delay_s), r.idempotency_key, r.app_id,
                r.build_id, r.serial, case when r.serial is not null then nextval('kaixu.job_serial_no') end, r.at_once,
                r.reports_failure)
        on conflict (account, kind, unique_key) where unique_key is not null and completed_at is null do nothing
        returning id into v_id;
        if found then
            if cardinality(r.blobs) > 0
               and not kaixu.use_blobs(r.id, r.integration, r.customer_id, r.blobs) then
                raise exception 'a blob of the job is not there' using errcode = 'no_data_found';
            end if;
            exit;
        end if;
        select j.id into v_id
          from kaixu.job j
         where j.account = coalesce(r.customer_id, 0) and j.kind = r.kind and j.unique_key = r.idempotency_key
           and j.completed_at is null;
        exit when found;
    end loop;
    if v_id is null then
        raise exception 'the same job is being handed in elsewhere' using errcode = 'serialization_failure';
    end if;
    return v_id;
end
$$;
revoke all on function kaixu__plugin.enqueue(uuid) from public;
