-- limit_use_on: what a subject of limits has used, with its day brought up to p_now.
--
-- On the first call of a day, and the first since a limit was set, the day is summed up from its usage events. After that
-- settlements keep it. With its first limit a customer is marked, and so are its calls in flight, which then count: that
-- one time all calls in flight are looked through. Writes nothing else. p_chains, p_provider and p_model say which calls count: null, all. p_names: see model_limits.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.limit_use_on(
    p_customer_id   bigint,
    p_subject       text,
    p_chains        bigint[],
    p_provider      text,
    p_model         text,
    p_names         text,
    p_now           timestamptz
) returns kaixu.limit_use
language plpgsql as $$
declare
    v_use       kaixu.limit_use;
    v_day       constant date := (p_now at time zone 'UTC')::date;
    v_month     constant date := date_trunc('month', v_day);
    v_begins    constant timestamptz := v_day::timestamp at time zone 'UTC';
    v_spent     bigint;
begin
    select u.* into v_use from kaixu.limit_use u where u.customer_id = p_customer_id and u.subject = p_subject;
    if v_use.day = v_day then
        return v_use;
    end if;

    -- Two statements, so that each has the index of what it looks for.
    if p_chains is null then
        select coalesce(sum(e.cost_nusd), 0) into v_spent
          from kaixu.usage_event e
         where e.month = v_month and e.customer_id = p_customer_id and e.created_at >= v_begins and e.admitted_at >= v_begins
           and (e.book = 'ai' or not kaixu.book_has_own_cap(
                    p_customer_id => e.customer_id, p_month => e.month, p_book => e.book));
    else
        select coalesce(sum(e.cost_nusd), 0) into v_spent
          from kaixu.usage_event e
         where e.month = v_month and e.chain_id = any (p_chains) and e.created_at >= v_begins and e.admitted_at >= v_begins
           and (e.book = 'ai' or not kaixu.book_has_own_cap(
                    p_customer_id => e.customer_id, p_month => e.month, p_book => e.book))
           and (p_model is null or (e.provider = p_provider and e.model = p_model));
    end if;
    insert into kaixu.limit_use as u (customer_id, subject, day, day_spent_nusd, names)
    values (p_customer_id, p_subject, v_day, v_spent, case when p_model is not null then p_names end)
    on conflict (customer_id, subject) do update set day = v_day, day_spent_nusd = v_spent, names = excluded.names
    returning u.* into v_use;
    update kaixu.customer c set has_limits = true where c.id = p_customer_id and not c.has_limits;
    if found then   -- else all are marked: by the first limit, and by admission since then
        update kaixu.reservation r set is_limited = true where r.customer_id = p_customer_id and not r.is_limited;
    end if;
    return v_use;
end
$$;
