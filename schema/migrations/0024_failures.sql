-- The W3C trace that a job belongs to: passed on to its vendor and its webhook. Null for jobs that have none.
alter table kaixu.job add column traceparent text;

-- What a failure's event tells: which deployment was called last, the sizes, and the vendor's words, cleaned.
alter table kaixu.gateway_event
    add column if not exists deployment text,
    add column if not exists request_bytes bigint,
    add column if not exists response_bytes bigint,
    add column if not exists upstream_body text;
