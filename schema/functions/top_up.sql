-- top_up: raise a month's cap by a credit, once for each idempotency key.
--
-- Returns whether this call applied it (false: an earlier one did) and the month's extra after it. No row: there is no
-- such customer. Raises the alert TOPPED_UP, and notes the cap to be checked: it may have recovered.
-- Lock: takes the customer's row.
create or replace function kaixu.top_up(
    p_idempotency_key   text,
    p_customer_id       bigint,
    p_month             date,
    p_amount_nusd       bigint,
    p_source            text
) returns table (applied boolean, extra_nusd bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_applied boolean;
begin
    perform 1 from kaixu.customer c where c.id = p_customer_id and c.deleted_at is null for no key update;
    if not found then
        return;
    end if;
    insert into kaixu.topup (idempotency_key, customer_id, month, amount_nusd, source)
    values (p_idempotency_key, p_customer_id, p_month, p_amount_nusd, p_source)
    on conflict (idempotency_key) do nothing;
    v_applied := found;
    insert into kaixu.customer_month as m (customer_id, month, book, extra_nusd)
    values (p_customer_id, p_month, 'ai', case when v_applied then p_amount_nusd else 0 end)
    on conflict (customer_id, month, book) do update
       set extra_nusd = m.extra_nusd + excluded.extra_nusd, updated_at = now();
    if v_applied then
        perform kaixu.raise_alert(
            p_type => 'TOPPED_UP', p_customer_id => p_customer_id,
            p_body => (select jsonb_build_object('month', to_char(p_month, 'YYYY-MM'), 'amount_nusd', p_amount_nusd,
                                                 'extra_nusd', sum(m.extra_nusd)::bigint,
                                                 'cap_nusd', (c.monthly_cap_nusd + sum(m.extra_nusd))::bigint,
                                                 'spent_nusd', sum(m.spent_nusd)::bigint, 'source', p_source)
                         from kaixu.customer c
                         join kaixu.customer_month m
                           on m.customer_id = c.id and m.month = p_month and not m.has_own_cap
                        where c.id = p_customer_id
                        group by c.id));
        insert into kaixu.cap_check (customer_id, chain_id, month) values (p_customer_id, 0, p_month);
    end if;
    return query
    select v_applied, m.extra_nusd
      from kaixu.customer_month m
     where m.customer_id = p_customer_id and m.month = p_month and m.book = 'ai';
end
$$;
