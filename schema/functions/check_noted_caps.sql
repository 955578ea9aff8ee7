-- check_noted_caps: check_caps for caps that were noted in cap_check; return how many there were, at most p_most.
--
-- A cap that is noted meanwhile is checked the next time. Jobs that were blocked by these caps are tried again.
-- Balances that are watched are compared with their thresholds; the customers' books with caps of their own are checked.
-- Lock: rows of cap_check, skipping locked ones; customers' rows as check_watches; rows of jobs, skipping locked ones; then
-- as check_caps and check_books.
create or replace function kaixu.check_noted_caps(p_thresholds integer[], p_most integer)
returns integer
language plpgsql as $$
declare
    v_customer_id   bigint[];
    v_chain_id      bigint[];
    v_month         date[];
begin
    with taken as (
        delete from kaixu.cap_check c
         where c.ctid = any (array(select x.ctid from kaixu.cap_check x limit p_most for update skip locked))
        returning c.customer_id, c.chain_id, c.month
    )
    select array_agg(t.customer_id), array_agg(t.chain_id), array_agg(t.month)
      into v_customer_id, v_chain_id, v_month
      from taken t;
    if v_customer_id is null then
        return 0;
    end if;
    perform kaixu.check_watches(p_customer_id => v_customer_id);
    perform kaixu.wake_blocked_jobs(p_customer_id => v_customer_id);
    perform kaixu.check_caps(p_customer_id => v_customer_id, p_chain_id => v_chain_id, p_month => v_month,
                             p_thresholds => p_thresholds);
    perform kaixu.check_books(p_customer_id => v_customer_id, p_month => v_month, p_thresholds => p_thresholds);
    return cardinality(v_customer_id);
end
$$;
