-- carry_now: carry a customer's credit and debt into the present month, if that has not been done; see carry_credit.
--
-- For what shows or bills the month; calls do it when they are admitted.
-- Lock: takes the customer's row, if there is something to be carried.
create or replace function kaixu.carry_now(p_customer_id bigint)
returns void
language plpgsql as $$
declare
    v_month constant date := date_trunc('month', clock_timestamp() at time zone 'UTC');
begin
    if (select c.carry_from from kaixu.customer c where c.id = p_customer_id) < v_month then
        perform from kaixu.customer c where c.id = p_customer_id for no key update;
        perform kaixu.carry_credit(p_customer_id => p_customer_id, p_month => v_month);
        perform kaixu.watch_balances(p_customer_id => array[p_customer_id]);
    end if;
end
$$;
