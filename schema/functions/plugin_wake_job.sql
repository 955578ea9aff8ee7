-- kaixu__plugin.wake_job: let the job that the gateway has noted under p_access run at once; see wake_job.
--
-- Called by an integration's own role, in its transaction; only a job of its own integration. Runs as the gateway's user.
-- Lock: the job's row, until the transaction ends.
create or replace function kaixu__plugin.wake_job(p_access uuid)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    a   record;
begin
    select * into a from kaixu.take_job_access(p_access, session_user::text);
    return kaixu.wake_job(p_job_id => a.job_id, p_integration => a.integration, p_customer_id => a.customer_id);
end
$$;
revoke all on function kaixu__plugin.wake_job(uuid) from public;
