-- wake_job: let a job that waits run as soon as this transaction has ended; return whether there is one that has not ended.
--
-- Its attempts stay. One that runs already may have looked before this transaction: it gets the pause 'waiting', which a
-- running job never has else, and runs once more after this time (`requeue`, `succeed`). Whoever claims a job takes its pause
-- away, so a run that begins later is enough. p_customer_id null: of any customer.
-- Lock: the job's row.
create or replace function kaixu.wake_job(p_job_id uuid, p_integration text, p_customer_id bigint)
returns boolean
language sql as $$
    with woken as (
        update kaixu.job j
           set run_after = least(j.run_after, clock_timestamp()),
               pause = case when j.status = 'running' then 'waiting' end
         where j.id = p_job_id and j.status in ('queued', 'running') and starts_with(j.kind, p_integration || '.')
           and (p_customer_id is null or j.customer_id = p_customer_id)
        returning j.id
    )
    select exists (select from woken)
$$;
