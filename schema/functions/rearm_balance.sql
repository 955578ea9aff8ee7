-- rearm_balance: let the reaction to a balance below its threshold run once more after some time, if it still is below.
--
-- Returns whether the customer's balance is watched for the integration.
-- Lock: takes the customer's row.
create or replace function kaixu.rearm_balance(p_customer_id bigint, p_integration text, p_after_s double precision)
returns boolean
language plpgsql as $$
begin
    perform from kaixu.customer c where c.id = p_customer_id for no key update;
    update kaixu.balance_watch w
       set rearm_at = clock_timestamp() + make_interval(secs => p_after_s)
     where w.customer_id = p_customer_id and w.integration = p_integration;
    return found;
end
$$;
