-- credit: book a credit, or what is taken back (negative), once for each idempotency key.
--
-- p_month: null is the present month. A month that is over gets it only with p_exact, when an operator has named it; else
-- it counts in the present month, and the row keeps the month that was named.
-- refused: 'UNKNOWN_CUSTOMER'; 'KEY_USED' (for another customer or amount, or by another integration); 'MONTH_TOO_FAR'
-- (more than two years ahead, without p_exact); 'TOO_MUCH' (the month's credits would exceed p_most_nusd, either way); or null. A refused
-- credit writes nothing. applied: false where an earlier call has booked it; month and extra_nusd are then those of its
-- month.
-- Raises the alert TOPPED_UP for a credit, and notes the cap to be checked: it may have recovered.
-- Lock: takes the customer's row.
create or replace function kaixu.credit(
    p_idempotency_key   text,
    p_customer_id       bigint,
    p_month             date,
    p_amount_nusd       bigint,
    p_source            text,
    p_most_nusd         bigint,
    p_exact             boolean,
    p_integration       text,
    p_reference         text
) returns table (refused text, applied boolean, month date, extra_nusd bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now       date;
    v_month     date;
    v_extra     bigint;
    v_earlier   record;
begin
    perform 1 from kaixu.customer c where c.id = p_customer_id and c.deleted_at is null for no key update;
    if not found then
        return query select 'UNKNOWN_CUSTOMER', false, null::date, null::bigint;
        return;
    end if;
    v_now := date_trunc('month', clock_timestamp() at time zone 'UTC');
    v_month := case when p_month is null or (p_month < v_now and not p_exact) then v_now else p_month end;
    if v_month > v_now + interval '2 years' and not p_exact then
        return query select 'MONTH_TOO_FAR', false, null::date, null::bigint;
        return;
    end if;
    perform kaixu.carry_credit(p_customer_id => p_customer_id, p_month => v_now);

    select coalesce(sum(m.extra_nusd), 0) + p_amount_nusd into v_extra
      from kaixu.customer_month m
     where m.customer_id = p_customer_id and m.month = v_month and m.book = 'ai';
    if abs(v_extra) > p_most_nusd
       and not exists (select from kaixu.topup t where t.idempotency_key = p_idempotency_key) then
        return query select 'TOO_MUCH', false, null::date, null::bigint;
        return;
    end if;

    insert into kaixu.topup (idempotency_key, customer_id, month, amount_nusd, source, integration, reference, named_month)
    values (p_idempotency_key, p_customer_id, v_month, p_amount_nusd, p_source, p_integration, p_reference,
            nullif(p_month, v_month))
    on conflict (idempotency_key) do nothing;
    applied := found;
    if not applied then
        select t.customer_id, t.amount_nusd, t.integration, t.month into v_earlier
          from kaixu.topup t where t.idempotency_key = p_idempotency_key;
        if (v_earlier.customer_id, v_earlier.amount_nusd) is distinct from (p_customer_id, p_amount_nusd)
           or v_earlier.integration is distinct from p_integration then
            return query select 'KEY_USED', false, null::date, null::bigint;
            return;
        end if;
        v_month := v_earlier.month;
    end if;
    insert into kaixu.customer_month as m (customer_id, month, book, extra_nusd)
    values (p_customer_id, v_month, 'ai', case when applied then p_amount_nusd else 0 end)
    on conflict (customer_id, month, book) do update
       set extra_nusd = m.extra_nusd + excluded.extra_nusd, updated_at = now()
    returning m.extra_nusd into extra_nusd;
    month := v_month;
    if not applied then
        return next;
        return;
    end if;

    update kaixu.customer c
       set carry_from = least(c.carry_from, v_month)
     where c.id = p_customer_id and c.carry_from is distinct from least(c.carry_from, v_month);
    if p_amount_nusd > 0 then
        perform kaixu.raise_alert(
            p_type => 'TOPPED_UP', p_customer_id => p_customer_id,
            p_body => (select jsonb_build_object('month', to_char(v_month, 'YYYY-MM'), 'amount_nusd', p_amount_nusd,
                                                 'extra_nusd', sum(m.extra_nusd)::bigint,
                                                 'cap_nusd', (c.monthly_cap_nusd + sum(m.extra_nusd))::bigint,
                                                 'spent_nusd', sum(m.spent_nusd)::bigint, 'source', p_source)
                         from kaixu.customer c
                         join kaixu.customer_month m
                           on m.customer_id = c.id and m.month = v_month and not m.has_own_cap
                        where c.id = p_customer_id
                        group by c.id));
    end if;
    insert into kaixu.cap_check (customer_id, chain_id, month) values (p_customer_id, 0, v_month);
    perform kaixu.watch_balances(p_customer_id => array[p_customer_id]);
    return next;
end
$$;
