-- open_book: make the months of a book with a cap of its own, before anything is written into them.
--
-- So the statements of every call, which insert months that are not there, need not ask what kind of book it is. Nothing
-- happens for other books, and where the months are there.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.open_book(p_customer_id bigint, p_chain_id bigint, p_month date, p_book text)
returns void
language plpgsql as $$
begin
    if p_book <> 'ai' and kaixu.book_has_own_cap(p_customer_id => p_customer_id, p_month => p_month, p_book => p_book) then
        insert into kaixu.customer_month (customer_id, month, book, has_own_cap)
        values (p_customer_id, p_month, p_book, true)
        on conflict (customer_id, month, book) do nothing;
        insert into kaixu.key_month (chain_id, month, book, customer_id, has_own_cap)
        values (p_chain_id, p_month, p_book, p_customer_id, true)
        on conflict (chain_id, month, book) do nothing;
    end if;
end
$$;
