-- is_first_in_line: whether a job with `serial` may run: it is the first unended one with that value, and no other runs.
--
-- One that was enqueued earlier may become visible later, while a later one runs; then it waits for that.
-- For a queued job. claim_jobs_v2 has the same condition inline: it looks at many jobs of a long line.
-- Lock: none; claim_jobs_v2 asks again under the advisory lock of the line.
create or replace function kaixu.is_first_in_line(p_job kaixu.job)
returns boolean
language sql stable as $$
    select not exists (select from kaixu.job b
                        where b.provider = p_job.provider and b.serial = p_job.serial and b.completed_at is null
                          and b.serial_no < p_job.serial_no)
       and not exists (select from kaixu.job b
                        where b.provider = p_job.provider and b.serial = p_job.serial and b.status = 'running')
$$;
