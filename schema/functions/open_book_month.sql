-- open_book_month: the version of the price list that a customer's book has in a month; the first use fixes it.
--
-- The customer's setting names it; a name that is not in the price list, and none, is 'default'.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.open_book_month(p_customer_id bigint, p_month date, p_book text)
returns text
language plpgsql as $$
declare
    v_version   text;
begin
    select m.version into v_version
      from kaixu.book_month m
     where m.customer_id = p_customer_id and m.month = p_month and m.book = p_book;
    if v_version is null then
        v_version := kaixu.assigned_version(p_customer_id => p_customer_id, p_book => p_book);
        insert into kaixu.book_month (customer_id, month, book, version)
        values (p_customer_id, p_month, p_book, v_version);
    end if;
    return v_version;
end
$$;
