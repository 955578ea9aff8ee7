-- lock_billing: let one transaction at a time work on a customer's invoices.
--
-- Returns false: there is no such customer.
-- Lock: takes the customer's row of billing_account, which calls never touch. It comes before the customer's own row and
-- before a series of numbers.
create or replace function kaixu.lock_billing(p_customer_id bigint) returns boolean
language plpgsql as $$
begin
    insert into kaixu.billing_account (customer_id)
    select c.id from kaixu.customer c where c.id = p_customer_id
    on conflict (customer_id) do nothing;
    perform 1 from kaixu.billing_account b where b.customer_id = p_customer_id for update;
    return found;
end
$$;
