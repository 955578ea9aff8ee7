-- cancel_job: cancel a job that has not ended; return its status then, null where there is no such job.
--
-- A running one is asked to end: its worker ends it when it next renews its lease. p_integration: only a job of that
-- integration; p_customer_id: only a job of that customer; null: of any.
-- Lock: the job's row.
create or replace function kaixu.cancel_job(p_job_id uuid, p_integration text, p_customer_id bigint)
returns text
language sql as $$
    update kaixu.job j
       set cancel_asked = j.cancel_asked or j.status in ('queued', 'running'),
           status = case when j.status = 'queued' then 'cancelled' else j.status end,
           error_code = case when j.status = 'queued' then 'JOB_CANCELLED' else j.error_code end,
           error_message = case when j.status = 'queued' then 'the job was cancelled' else j.error_message end,
           completed_at = case when j.status = 'queued' then clock_timestamp() else j.completed_at end,
           failure_due_at = case when j.status = 'queued' and j.reports_failure then clock_timestamp()
                                 else j.failure_due_at end,
           webhook_after = case when j.status = 'queued' and j.webhook is not null then clock_timestamp()
                                else j.webhook_after end
     where j.id = p_job_id
       and (p_integration is null or starts_with(j.kind, p_integration || '.'))
       and (p_customer_id is null or j.customer_id = p_customer_id)
    returning j.status
$$;
