-- reserve_again_v2: restore the holds of running calls that a crash of the database lost.
--
-- Admissions commit without waiting for the disk; a gateway that finds the database back calls this for its running
-- calls before it admits anything new. Holds that are still there, or settled, are left alone.
-- Other calls may have taken the room meanwhile: a hold is restored as far as the caps, which hold for all books of a
-- month together (except for those with a cap of their own), have room; granted_nusd then keeps what it was.
-- Returns how many were restored.
-- Lock: the customers' rows, ascending by id.
create or replace function kaixu.reserve_again_v2(
    p_ticket        uuid[],
    p_customer_id   bigint[],
    p_key_id        bigint[],
    p_chain_id      bigint[],
    p_month         date[],
    p_book          text[],
    p_held_nusd     bigint[],
    p_operation     text[],
    p_provider      text[],
    p_model         text[],
    p_price_id      bigint[],
    p_install_id    text[],
    p_request_id    text[],
    p_app_id        text[],
    p_build_id      text[],
    p_end_user      text[],
    p_admitted_at   timestamptz[],
    p_most_tokens   bigint[],
    p_owner         uuid,
    p_lifetime_s    integer
) returns integer
language plpgsql
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    r               record;
    v_room          bigint;
    v_held          bigint;
    v_own           boolean;
    v_put_back      integer := 0;
begin
    perform 1
       from kaixu.customer c
      where c.id = any (p_customer_id)
      order by c.id
        for no key update;

    for r in
        select a.*
          from unnest(p_ticket, p_customer_id, p_key_id, p_chain_id, p_month, p_book, p_held_nusd, p_operation,
                      p_provider, p_model, p_price_id, p_install_id, p_request_id, p_app_id, p_build_id, p_end_user,
                      p_admitted_at, p_most_tokens)
               a (ticket, customer_id, key_id, chain_id, month, book, held_nusd, operation, provider, model, price_id,
                  install_id, request_id, app_id, build_id, end_user, admitted_at, most_tokens)
         where not exists (select from kaixu.reservation o where o.ticket = a.ticket)
           and not exists (select from kaixu.usage_event e where e.month = a.month and e.ticket = a.ticket)
         order by a.customer_id, a.month, a.book, a.chain_id, a.ticket
    loop
        select least(c.monthly_cap_nusd - cm.used_nusd, k.monthly_cap_nusd - km.used_nusd,
                     case when r.end_user is not null
                          then coalesce(u.monthly_cap_nusd, c.end_user_cap_nusd) - coalesce(um.spent_nusd + um.held_nusd, 0)
                     end,
                     case when c.has_limits
                          then kaixu.limit_room(
                                   p_customer_id => r.customer_id, p_key_id => r.key_id, p_provider => r.provider,
                                   p_model => r.model, p_month => r.month,
                                   p_admitted_at => coalesce(r.admitted_at, clock_timestamp()))
                     end)
          into v_room
          from kaixu.customer c
          join kaixu.virtual_key k on k.id = r.key_id
         cross join (select coalesce(sum(m.spent_nusd + m.held_nusd - m.extra_nusd), 0)::bigint as used_nusd
                       from kaixu.customer_month m
                      where m.customer_id = r.customer_id and m.month = r.month and not m.has_own_cap) cm
         cross join (select coalesce(sum(m.spent_nusd + m.held_nusd), 0)::bigint as used_nusd
                       from kaixu.key_month m
                      where m.chain_id = r.chain_id and m.month = r.month and not m.has_own_cap) km
          left join kaixu.end_user_cap u on u.customer_id = r.customer_id and u.end_user = r.end_user
          left join kaixu.end_user_month um
            on um.customer_id = r.customer_id and um.month = r.month and um.end_user = r.end_user
         where c.id = r.customer_id;
        v_own := r.book <> 'ai'
                 and kaixu.book_has_own_cap(p_customer_id => r.customer_id, p_month => r.month, p_book => r.book);
        if v_own then
            select b.room_nusd into v_room
              from kaixu.book_room(p_customer_id => r.customer_id, p_month => r.month, p_book => r.book) b;
        end if;
        v_held := least(r.held_nusd, greatest(0, v_room));

        insert into kaixu.reservation (ticket, customer_id, key_id, chain_id, month, book, held_nusd, operation, provider,
                                       model, price_id, install_id, request_id, owner, created_at, expires_at, granted_nusd,
                                       app_id, build_id, end_user, most_tokens, is_limited)
        values (r.ticket, r.customer_id, r.key_id, r.chain_id, r.month, r.book, v_held, r.operation, r.provider,
                r.model, r.price_id, r.install_id, r.request_id, p_owner,
                coalesce(r.admitted_at, clock_timestamp()), clock_timestamp() + make_interval(secs => p_lifetime_s), nullif(r.held_nusd, v_held), r.app_id, r.build_id, r.end_user,
                case when r.operation like 'job:%' then 0 else coalesce(r.most_tokens, 0) end,
                (select c.has_limits from kaixu.customer c where c.id = r.customer_id));
        perform kaixu.open_book(
            p_customer_id => r.customer_id, p_chain_id => r.chain_id, p_month => r.month, p_book => r.book);
        insert into kaixu.customer_month as m (customer_id, month, book, held_nusd)
        values (r.customer_id, r.month, r.book, v_held)
        on conflict (customer_id, month, book) do update set held_nusd = m.held_nusd + excluded.held_nusd;
        insert into kaixu.key_month as m (chain_id, month, book, customer_id, held_nusd)
        values (r.chain_id, r.month, r.book, r.customer_id, v_held)
        on conflict (chain_id, month, book) do update set held_nusd = m.held_nusd + excluded.held_nusd;
        if r.end_user is not null then
            insert into kaixu.end_user_month as m (customer_id, month, end_user, held_nusd)
            values (r.customer_id, r.month, r.end_user, v_held)
            on conflict (customer_id, month, end_user) do update set held_nusd = m.held_nusd + excluded.held_nusd;
        end if;
        v_put_back := v_put_back + 1;
    end loop;
    return v_put_back;
end
$$;
