-- wake_job: let a job that waits run as soon as this transaction has ended; return whether there is one that waits.
--
-- Its attempts stay. One that runs or has ended is left alone. p_customer_id null: of any customer.
-- Lock: the job's row.
create or replace function kaixu.wake_job(p_job_id uuid, p_integration text, p_customer_id bigint)
returns boolean
language sql as $$
    with woken as (
        update kaixu.job j
           set run_after = least(j.run_after, clock_timestamp()), pause = null
         where j.id = p_job_id and j.status = 'queued' and starts_with(j.kind, p_integration || '.')
           and (p_customer_id is null or j.customer_id = p_customer_id)
        returning j.id
    )
    select exists (select from woken)
$$;
