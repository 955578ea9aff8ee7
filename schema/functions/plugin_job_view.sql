-- kaixu__plugin.job_view: the job that the gateway has noted under p_access for this call, once. No row: there is no such job.
--
-- Called by an integration's own role, in its transaction, which sees what it has enqueued itself. Only jobs of its own
-- integration, and of the call's customer where it has one. Runs as the gateway's user.
create or replace function kaixu__plugin.job_view(p_access uuid)
returns table (
    status      text,
    attempts    integer,
    next_at     timestamptz,
    error       text,
    done        bigint,
    total       bigint
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select v.status, v.attempts, v.next_at, v.error, v.done, v.total
      from kaixu.take_job_access(p_access, session_user::text) a
     cross join lateral kaixu.job_view(a.job_id, a.integration, a.customer_id) v;
end
$$;
revoke all on function kaixu__plugin.job_view(uuid) from public;
