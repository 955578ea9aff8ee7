-- book_carried: add to the one row of a month that says what it gave to later months ('carried'), or got ('rollover').
--
-- Lock: called by carry_credit, whose caller holds the customer's row.
create or replace function kaixu.book_carried(
    p_customer_id   bigint,
    p_month         date,
    p_amount_nusd   bigint,
    p_source        text
) returns void
language plpgsql as $$
begin
    insert into kaixu.topup as t (idempotency_key, customer_id, month, amount_nusd, source)
    values (p_source || ':' || gen_random_uuid(), p_customer_id, p_month, p_amount_nusd, p_source)
    on conflict (customer_id, month, source) where source in ('rollover', 'carried') do update set amount_nusd = t.amount_nusd + excluded.amount_nusd;
    insert into kaixu.customer_month as m (customer_id, month, book, extra_nusd)
    values (p_customer_id, p_month, 'ai', p_amount_nusd)
    on conflict (customer_id, month, book) do update
       set extra_nusd = m.extra_nusd + excluded.extra_nusd, updated_at = now();
end
$$;
