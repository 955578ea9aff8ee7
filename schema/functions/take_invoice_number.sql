-- take_invoice_number: the next number of a series.
--
-- A rollback gives it back, so that a series has no gaps.
-- Lock: takes the row of the series until the transaction ends. Take it last: everyone who issues waits for it.
create or replace function kaixu.take_invoice_number(p_series text) returns bigint
language sql as $$
    insert into kaixu.invoice_series as s (series, last_number)
    values (p_series, 1)
    on conflict (series) do update set last_number = s.last_number + 1
    returning s.last_number
$$;
