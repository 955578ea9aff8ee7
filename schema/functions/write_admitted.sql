-- write_admitted: write the holds and the rate slots that one key chain took in a group.
--
-- Lock: called by admit, which holds the customer's row.
create or replace function kaixu.write_admitted(
    p_customer_id   bigint,
    p_chain_id      bigint,
    p_month         date,
    p_book          text,
    p_added_nusd    bigint,
    p_second        bigint,
    p_seconds       integer[],
    p_ten_minute    bigint,
    p_ten_minutes   integer[],
    p_now           timestamptz,
    p_install_id    text
) returns void
language plpgsql as $$
begin
    if p_book <> 'ai' then
        perform kaixu.open_book(p_customer_id => p_customer_id, p_chain_id => p_chain_id, p_month => p_month, p_book => p_book);
    end if;
    -- The rows are nearly always there, and an update is cheaper than an insert that meets them.
    update kaixu.customer_month m
       set held_nusd = m.held_nusd + p_added_nusd, updated_at = p_now
     where m.customer_id = p_customer_id and m.month = p_month and m.book = p_book;
    if not found then
        insert into kaixu.customer_month (customer_id, month, book, held_nusd, updated_at)
        values (p_customer_id, p_month, p_book, p_added_nusd, p_now);
    end if;

    update kaixu.key_month m
       set held_nusd = m.held_nusd + p_added_nusd, updated_at = p_now
     where m.chain_id = p_chain_id and m.month = p_month and m.book = p_book;
    if not found then
        insert into kaixu.key_month (chain_id, month, book, customer_id, held_nusd, updated_at)
        values (p_chain_id, p_month, p_book, p_customer_id, p_added_nusd, p_now);
    end if;

    update kaixu.rate_window w
       set second_slot = p_second, second_counts = p_seconds, ten_minute_slot = p_ten_minute,
           ten_minute_counts = p_ten_minutes, last_seen_at = p_now,
           last_seen_install_id = coalesce(p_install_id, w.last_seen_install_id)
     where w.chain_id = p_chain_id;
    if not found then
        insert into kaixu.rate_window (chain_id, customer_id, second_slot, second_counts, ten_minute_slot,
                                       ten_minute_counts, last_seen_at, last_seen_install_id)
        values (p_chain_id, p_customer_id, p_second, p_seconds, p_ten_minute, p_ten_minutes, p_now, p_install_id);
    end if;
end
$$;
