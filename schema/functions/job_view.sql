-- job_view: a job of an integration as its plugin sees it. No row: there is no such job of this integration, or it is
-- another customer's; p_customer_id null: of any customer.
--
-- next_at: when a job that does not run is tried next; null once it runs or has ended. error: the code of the last error.
-- Lock: none.
create or replace function kaixu.job_view(p_job_id uuid, p_integration text, p_customer_id bigint)
returns table (
    status      text,
    attempts    integer,
    next_at     timestamptz,
    error       text,
    done        bigint,
    total       bigint
)
language sql stable as $$
    select case when j.status = 'queued' then coalesce(j.pause, 'queued') else j.status end, j.attempts,
           case when j.status = 'queued' then j.run_after end, j.error_code, j.done, j.total
      from kaixu.job j
     where j.id = p_job_id and starts_with(j.kind, p_integration || '.')
       and (p_customer_id is null or j.customer_id = p_customer_id)
$$;
