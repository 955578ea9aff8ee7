-- take_limits: count an admitted call in the requests a minute of its model and of its group.
--
-- Its money and its tokens are counted from its reservation, and after it from its settlement.
-- Lock: the caller holds the customer's row, and has called check_limits for the same call.
create or replace function kaixu.take_limits(
    p_customer_id   bigint,
    p_key_id        bigint,
    p_provider      text,
    p_model         text,
    p_names         text,
    p_now           timestamptz
) returns void
language plpgsql as $$
declare
    v_second    constant bigint := floor(extract(epoch from p_now));
    v_at        constant integer := v_second % 61 + 1;
    s           record;
    v_calls     integer[];
begin
    for s in
        select u.subject, u.call_counts, u.call_slot
          from kaixu.limits_of(
                   p_customer_id => p_customer_id, p_key_id => p_key_id, p_provider => p_provider, p_model => p_model,
                   p_names => p_names) l
          join kaixu.limit_use u on u.customer_id = p_customer_id and u.subject = l.subject
         where l.rpm is not null
    loop
        v_calls := kaixu.window_now(s.call_counts, s.call_slot, v_second, 61);
        v_calls[v_at] := v_calls[v_at] + 1;
        update kaixu.limit_use u
           set call_counts = v_calls, call_slot = v_second
         where u.customer_id = p_customer_id and u.subject = s.subject;
    end loop;
end
$$;
