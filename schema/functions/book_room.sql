-- book_room: what a book with a cap of its own has left in a month, with its figures.
--
-- cap_nusd null: no cap, and room_nusd is more than any call can cost.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.book_room(
    p_customer_id   bigint,
    p_month         date,
    p_book          text,
    out cap_nusd    bigint,
    out spent_nusd  bigint,
    out held_nusd   bigint,
    out room_nusd   bigint
)
language plpgsql stable as $$
begin
    cap_nusd := kaixu.book_cap(p_customer_id => p_customer_id, p_book => p_book);
    select m.spent_nusd, m.held_nusd into spent_nusd, held_nusd
      from kaixu.customer_month m
     where m.customer_id = p_customer_id and m.month = p_month and m.book = p_book;
    spent_nusd := coalesce(spent_nusd, 0);
    held_nusd := coalesce(held_nusd, 0);
    room_nusd := coalesce(cap_nusd, 4000000000000000000) - spent_nusd - held_nusd;
end
$$;
