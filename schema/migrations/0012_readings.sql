-- How often a key chain reads and polls: a window of its own, so that neither uses up the rates of calls.
-- 61 slots of a second, as in kaixu.rate_window.
create table kaixu.reading_window (
    chain_id        bigint primary key,
    customer_id     bigint      not null,
    second_slot     bigint      not null,   -- epoch second of the newest slot
    second_counts   integer[]   not null    -- slot s lies at (s % 61) + 1
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- How long the files are that a batch has ended in; null: it has not ended, or nobody has asked yet.
alter table kaixu.batch
    add column output_bytes bigint check (output_bytes >= 0),
    add column error_bytes bigint check (error_bytes >= 0);

-- The page of a customer's files, newest or oldest first.
create index file_listed_idx on kaixu.file (customer_id, created_at, id);
drop index kaixu.file_customer_idx;
