-- How often an operation of an integration was called, for its own rates (Rate in kaixu.plugin).
-- 61 slots of a sixtieth of the rate's time, as in kaixu.rate_window.
create table kaixu.operation_window (
    operation       text        not null,
    per_s           integer     not null,   -- the time of the rate: an operation may have several
    chain_id        bigint      not null,   -- 0: the calls of all keys of the customer
    customer_id     bigint      not null,
    slot            bigint      not null,   -- the newest slot
    counts          integer[]   not null,   -- slot s lies at (s % 61) + 1
    primary key (customer_id, operation, per_s, chain_id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Which calls of an operation with a limit of calls at once have begun. One counts as long as its reservation is there;
-- the rows of others are removed by the next call.
create table kaixu.operation_call (
    ticket          uuid        primary key,
    customer_id     bigint      not null,
    operation       text        not null
);
create index operation_call_customer_idx on kaixu.operation_call (customer_id, operation);
