-- kaixu__plugin.cancel_job: cancel the job that the gateway has noted under p_access for this call; see cancel_job.
--
-- Called by an integration's own role, in its transaction: the job is cancelled when that commits. Returns the status, null
-- where there is no such job of its integration and of the call's customer. Runs as the gateway's user.
-- Lock: the job's row, until the transaction ends.
create or replace function kaixu__plugin.cancel_job(p_access uuid)
returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    a   record;
begin
    select * into a from kaixu.take_job_access(p_access, session_user::text);
    return kaixu.cancel_job(p_job_id => a.job_id, p_integration => a.integration, p_customer_id => a.customer_id);
end
$$;
revoke all on function kaixu__plugin.cancel_job(uuid) from public;
