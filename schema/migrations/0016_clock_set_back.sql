-- Queued jobs by the latest moment that is known of them: one that lies in the future was written before the clock was
-- set back. See schema/functions/claim_jobs.sql.
create index job_latest_idx on kaixu.job (greatest(created_at, heartbeat_at)) where status = 'queued';
