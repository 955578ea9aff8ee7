-- top_up: raise a month's cap by an operator's credit or a code, once for each idempotency key; see credit.
--
-- A month that is over gets it, too, where it is named. Returns whether this call applied it (false: an earlier one did, or
-- the key is another top-up's) and the month's extra after it. No row: there is no such customer.
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
    v_credit    record;
begin
    select c.* into v_credit
      from kaixu.credit(
               p_idempotency_key => p_idempotency_key, p_customer_id => p_customer_id, p_month => p_month,
               p_amount_nusd => p_amount_nusd, p_source => p_source, p_most_nusd => 8000000000000000000,
               p_exact => true, p_integration => null, p_reference => null) c;
    if v_credit.refused = 'UNKNOWN_CUSTOMER' then
        return;
    end if;
    return query
    select v_credit.applied,
           coalesce((select m.extra_nusd from kaixu.customer_month m
                      where m.customer_id = p_customer_id and m.month = p_month and m.book = 'ai'), 0);
end
$$;
