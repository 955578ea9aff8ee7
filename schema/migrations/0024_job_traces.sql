-- The W3C trace that a job belongs to: passed on to its vendor and its webhook. Null for jobs that have none.
alter table kaixu.job add column traceparent text;
