-- charge_room: what the caps leave for a charge by key in a month, and the cap that leaves least.
--
-- A book with a cap of its own is bound by that alone; other books by the caps of customer and key and by the day's caps,
-- and for them there is no room as long as the customer owes credit that was taken back.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.charge_room(
    p_customer_id   bigint,
    p_key_id        bigint,
    p_month         date,
    p_integration   text,
    p_charge        text,
    p_book          text,
    p_has_own_cap   boolean,
    out cap_nusd    bigint,
    out spent_nusd  bigint,
    out held_nusd   bigint,
    out room_nusd   bigint
)
language plpgsql as $$
declare
    v_customer  record;
    v_key       record;
begin
    if p_has_own_cap then
        select r.cap_nusd, r.spent_nusd, r.held_nusd, r.room_nusd into cap_nusd, spent_nusd, held_nusd, room_nusd
          from kaixu.book_room(p_customer_id => p_customer_id, p_month => p_month, p_book => p_book) r;
        return;
    end if;
    select c.monthly_cap_nusd + m.extra_nusd as cap_nusd, m.extra_nusd, m.spent_nusd, m.held_nusd, c.has_limits into v_customer
      from kaixu.customer c
     cross join lateral (select coalesce(sum(x.extra_nusd), 0)::bigint as extra_nusd,
                                coalesce(sum(x.spent_nusd), 0)::bigint as spent_nusd,
                                coalesce(sum(x.held_nusd), 0)::bigint as held_nusd
                           from kaixu.customer_month x
                          where x.customer_id = p_customer_id and x.month = p_month and not x.has_own_cap) m
     where c.id = p_customer_id;
    select k.monthly_cap_nusd as cap_nusd, m.spent_nusd, m.held_nusd into v_key
      from kaixu.virtual_key k
     cross join lateral (select coalesce(sum(x.spent_nusd), 0)::bigint as spent_nusd,
                                coalesce(sum(x.held_nusd), 0)::bigint as held_nusd
                           from kaixu.key_month x
                          where x.chain_id = k.chain_id and x.month = p_month and not x.has_own_cap) m
     where k.id = p_key_id;
    cap_nusd := v_customer.cap_nusd;
    spent_nusd := v_customer.spent_nusd;
    held_nusd := v_customer.held_nusd;
    room_nusd := cap_nusd - spent_nusd - held_nusd;
    if v_key.cap_nusd is not null and v_key.cap_nusd - v_key.spent_nusd - v_key.held_nusd < room_nusd then
        cap_nusd := v_key.cap_nusd;
        spent_nusd := v_key.spent_nusd;
        held_nusd := v_key.held_nusd;
        room_nusd := cap_nusd - spent_nusd - held_nusd;
    end if;
    if v_customer.has_limits then
        room_nusd := least(room_nusd, kaixu.limit_room(
            p_customer_id => p_customer_id, p_key_id => p_key_id, p_provider => p_integration, p_model => p_charge,
            p_month => p_month, p_admitted_at => clock_timestamp()));
    end if;
    if v_customer.extra_nusd < 0 then
        room_nusd := least(room_nusd, 0);
    end if;
end
$$;
