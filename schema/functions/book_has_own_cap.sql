-- book_has_own_cap: whether a customer's book counts against a cap of its own in a month, and not against the customer's.
--
-- What the month's row says, else what is declared: a book that gets a cap of its own keeps the customer's until the next
-- month where it was used before. Callers leave out the book 'ai', which never has one.
-- In plpgsql, so that a statement that never calls it does not prepare its subqueries.
-- Lock: none; who decides by it holds the customer's row.
create or replace function kaixu.book_has_own_cap(p_customer_id bigint, p_month date, p_book text)
returns boolean
language plpgsql stable as $$
begin
    return coalesce(
        (select m.has_own_cap from kaixu.customer_month m
          where m.customer_id = p_customer_id and m.month = p_month and m.book = p_book),
        (select b.has_own_cap from kaixu.book b where b.name = p_book),
        false);
end
$$;
