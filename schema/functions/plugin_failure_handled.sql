-- kaixu__plugin.failure_handled: note that the failure of a job of this role's integration has been handled.
--
-- Called by an integration's own role, last in the transaction with what its handler has written: both are committed or
-- neither. False: it was handled before, and the transaction is to be rolled back. Runs as the gateway's user.
-- Lock: the job's row.
create or replace function kaixu__plugin.failure_handled(p_job_id uuid)
returns boolean
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    with handled as (
        update kaixu.job j
           set failure_due_at = null
          from kaixu.plugin_role o
         where j.id = p_job_id and j.failure_due_at is not null
           and o.role = session_user and starts_with(j.kind, o.integration || '.')
        returning j.id
    )
    select exists (select from handled)
$$;
revoke all on function kaixu__plugin.failure_handled(uuid) from public;
