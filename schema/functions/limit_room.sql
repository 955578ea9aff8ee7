-- limit_room: how much money the day's caps, and the month's cap of the group, leave for a call of a key.
--
-- For bills above what was held: calls in flight, also the call itself, count with what they hold. A call of an earlier
-- day is bound by no day's cap. null: no such cap.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.limit_room(
    p_customer_id   bigint,
    p_key_id        bigint,
    p_provider      text,
    p_model         text,
    p_month         date,
    p_admitted_at   timestamptz
) returns bigint
language plpgsql as $$
declare
    v_now   constant timestamptz := clock_timestamp();
    v_day   constant timestamptz := date_trunc('day', v_now at time zone 'UTC') at time zone 'UTC';
    v_names constant text := (
        select u.names
          from kaixu.virtual_key k
          join kaixu.limit_use u
            on u.customer_id = k.customer_id and u.subject = 'model:' || k.chain_id || ':' || p_provider || '/' || p_model
         where k.id = p_key_id);
    v_room  bigint;
    s       record;
    v_use   kaixu.limit_use;
begin
    for s in
        select l.*
          from kaixu.limits_of(
                   p_customer_id => p_customer_id, p_key_id => p_key_id, p_provider => p_provider, p_model => p_model,
                   p_names => v_names) l
    loop
        if s.month_cap_nusd is not null then
            v_room := least(v_room, s.month_cap_nusd - (
                select coalesce(sum(m.spent_nusd + m.held_nusd), 0)
                  from kaixu.key_month m
                 where m.chain_id = any (s.chains) and m.month = p_month and not m.has_own_cap));
        end if;
        if s.day_cap_nusd is not null and p_admitted_at >= v_day then
            v_use := kaixu.limit_use_on(
                p_customer_id => p_customer_id, p_subject => s.subject, p_chains => s.chains, p_provider => p_provider,
                p_model => s.model, p_names => v_names, p_now => v_now);
            v_room := least(v_room, s.day_cap_nusd - v_use.day_spent_nusd - (
                select coalesce(sum(r.held_nusd), 0)
                  from kaixu.reservation r
                 where r.is_limited and r.customer_id = p_customer_id and r.created_at >= v_day
                   and (r.book = 'ai' or not kaixu.book_has_own_cap(
                            p_customer_id => r.customer_id, p_month => r.month, p_book => r.book))
                   and (s.chains is null or r.chain_id = any (s.chains))
                   and (s.model is null or (r.provider = p_provider and r.model = s.model))));
        end if;
    end loop;
    return v_room;
end
$$;
