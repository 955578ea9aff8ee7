-- settle_v2: turn a group of reservations into usage events with their true cost; each exactly once.
--
-- Parallel arrays, one element a call, complete: a call without a reservation (the database crashed before the admission
-- was on disk, or the reaper was faster) is settled, too.
-- end_reason 'released' frees the hold and writes no event: no vendor has worked for the call.
-- Returns a row a ticket: first_time is false for a repeated one; the month's figures are those after the whole group.
-- A late settlement replaces the reaper's 'lost' event, once. What costs more than is held for it, or has no reservation
-- left, is billed as far as the caps have room beside its hold; the rest is in the event as unbilled_nusd. Caps hold for
-- all books of a month together, except for those with a cap of their own, and the figures are sums over them.
-- A vendor cost of null is not known: the event says so, and the months add its bill to uncosted_nusd.
-- granted_nusd of the event is what admission granted: `kaixu reconcile` needs it.
-- Every event adds a row to usage_change, for the roll-ups; a replaced one adds its old figures, negated, too. A 'lost'
-- event that fill_usage has still to fill in adds nothing: it is filled in as it then is.
-- p_app_id, p_build_id, p_end_user: the tags of the calls; null: none.
-- Where a customer has limits (see limits_of), their days and token windows count the calls, at their admission.
--
-- Lock: takes the customers' rows, ascending by id; months and reservations only under it; then, where a 'lost' event is
-- replaced, rollup_state for share. Commits durably.
-- Plans are made once for any group: planning anew costs more than the work itself (measured: 2 ms of 2.5), and
-- a plan made while a table was small must not scan it when it has grown: so joins with events name the tickets twice.
create or replace function kaixu.settle_v2(
    p_ticket                uuid[],
    p_customer_id           bigint[],
    p_key_id                bigint[],
    p_chain_id              bigint[],
    p_month                 date[],
    p_book                  text[],
    p_operation             text[],
    p_provider              text[],
    p_model                 text[],
    p_price_id              bigint[],
    p_install_id            text[],
    p_request_id            text[],
    p_admitted_at           timestamptz[],
    p_duration_ms           integer[],
    p_end_reason            text[],
    p_usage_source          text[],
    p_cost_nusd             bigint[],
    p_vendor_cost_nusd      bigint[],
    p_input_tokens          bigint[],
    p_output_tokens         bigint[],
    p_cached_input_tokens   bigint[],
    p_cache_write_tokens    bigint[],
    p_reasoning_tokens      bigint[],
    p_units                 jsonb[],
    p_app_id                text[],
    p_build_id              text[],
    p_end_user              text[]
) returns table (
    ticket              uuid,
    first_time          boolean,
    month               date,
    customer_cap_nusd   bigint,
    customer_spent_nusd bigint,
    customer_held_nusd  bigint,
    key_cap_nusd        bigint,
    key_spent_nusd      bigint,
    key_held_nusd       bigint
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    v_freed         uuid[];
    v_freed_nusd    bigint[];
    v_granted_nusd  bigint[];
    v_freed_user    text[];         -- whose month holds the reservation: its own end user
    v_dearer        boolean;
    v_missing       boolean;
    v_lost          uuid[];
    v_limited       bigint[];       -- customers with limits; null: none
    v_watched       bigint[];       -- customers whose balances are watched; null: none
    v_limit_room    bigint[];       -- what the day's caps and the group's leave for each call; null: not looked at
    v_second        bigint;         -- under the lock: a ring of tokens that is newer would be put back
    v_limit_used    bigint := 0;
    v_next_id       bigint;         -- older events of the time before roll-ups are filled in
    v_cost          bigint[] := p_cost_nusd;
    v_units         jsonb[] := p_units;
    r               record;
    v_customer_id   bigint;
    v_chain_id      bigint;
    v_month         date;
    v_own_book      text;           -- the book with a cap of its own; null: the caps of customer and key
    v_customer_used bigint := 0;    -- what this group has taken of the room that was left
    v_key_used      bigint := 0;
    v_user_used     jsonb := '{}';  -- the same by end user
    v_used          bigint;
    v_billed        bigint;
begin
    select array_agg(x.id) filter (where x.has_limits), array_agg(x.id) filter (where x.is_watched)
      into v_limited, v_watched
      from (select c.id, c.has_limits, c.is_watched
              from kaixu.customer c
             where c.id = any (p_customer_id)
             order by c.id
               for no key update) x;

    -- While the holds are still there.
    if v_limited is not null then
        v_second := floor(extract(epoch from clock_timestamp()));
        select array_agg(case when a.customer_id = any (v_limited) and a.cost_nusd > coalesce(h.held_nusd, 0)
                              then kaixu.limit_room(
                                       p_customer_id => a.customer_id, p_key_id => a.key_id, p_provider => a.provider,
                                       p_model => a.model, p_month => a.month, p_admitted_at => a.admitted_at)
                         end order by a.at)
          into v_limit_room
          from unnest(p_ticket, p_customer_id, p_key_id, p_provider, p_model, p_month, p_cost_nusd, p_admitted_at)
               with ordinality a (ticket, customer_id, key_id, provider, model, month, cost_nusd, admitted_at, at)
          left join kaixu.reservation h on h.ticket = a.ticket;
    end if;

    with ended as (
        delete from kaixu.reservation r
         where r.ticket = any (p_ticket)
        returning r.ticket, r.held_nusd, coalesce(r.granted_nusd, r.held_nusd) as granted_nusd, r.end_user
    )
    select array_agg(x.ticket), array_agg(x.held_nusd), array_agg(x.granted_nusd), array_agg(x.end_user)
      into v_freed, v_freed_nusd, v_granted_nusd, v_freed_user
      from ended x;
    select coalesce(bool_or(a.cost_nusd > f.held_nusd), false) into v_dearer
      from unnest(p_ticket, p_cost_nusd) a (ticket, cost_nusd)
      join unnest(v_freed, v_freed_nusd) f (ticket, held_nusd) on f.ticket = a.ticket;
    v_missing := coalesce(cardinality(v_freed), 0) < cardinality(p_ticket);

    -- The reaper can only have ended a call without a reservation.
    if v_missing then
        select array_agg(e.ticket) into v_lost
          from kaixu.usage_event e
         where e.month = any (p_month) and e.ticket = any (p_ticket) and e.end_reason = 'lost';
        if v_lost is not null then
            select s.next_id into v_next_id from kaixu.rollup_state s for share;
        end if;
    end if;

    -- Beyond their holds the room may be taken by other calls: no cap is exceeded.
    -- The rest is in the event as unbilled_nusd; the operator bears it.
    if v_missing or v_dearer then
        for r in
            select a.at, a.customer_id, a.chain_id, a.month, a.cost_nusd, a.end_user,
                   coalesce(f.held_nusd, e.cost_nusd, 0) as own_nusd,   -- its hold, or what the reaper made of it
                   own.book as own_book,
                   case when own.book is null then c.monthly_cap_nusd - cm.used_nusd else own.room_nusd end as customer_room,
                   case when own.book is null then k.monthly_cap_nusd - km.used_nusd end as key_room,
                   case when a.end_user is not null and own.book is null
                        then coalesce(u.monthly_cap_nusd, c.end_user_cap_nusd) - coalesce(um.spent_nusd + um.held_nusd, 0)
                   end as user_room, case when own.book is null then v_limit_room[a.at] end as limit_room
              from unnest(p_ticket, p_customer_id, p_key_id, p_chain_id, p_month, p_book, p_end_reason, p_cost_nusd,
                          p_end_user)
                   with ordinality a (ticket, customer_id, key_id, chain_id, month, book, end_reason, cost_nusd, end_user, at)
              join kaixu.customer c on c.id = a.customer_id
              join kaixu.virtual_key k on k.id = a.key_id
              left join unnest(v_freed, v_freed_nusd) f (ticket, held_nusd) on f.ticket = a.ticket
             cross join lateral (select coalesce(sum(m.spent_nusd + m.held_nusd - m.extra_nusd), 0)::bigint as used_nusd
                                   from kaixu.customer_month m
                                  where m.customer_id = a.customer_id and m.month = a.month and not m.has_own_cap) cm
             cross join lateral (select coalesce(sum(m.spent_nusd + m.held_nusd), 0)::bigint as used_nusd
                                   from kaixu.key_month m
                                  where m.chain_id = a.chain_id and m.month = a.month and not m.has_own_cap) km
              left join lateral (select a.book, b.room_nusd
                                   from kaixu.book_room(
                                            p_customer_id => a.customer_id, p_month => a.month, p_book => a.book) b
                                  where a.book <> 'ai'
                                    and kaixu.book_has_own_cap(
                                            p_customer_id => a.customer_id, p_month => a.month, p_book => a.book)) own
                on true
              left join kaixu.usage_event e
                on e.month = a.month and e.ticket = a.ticket and e.month = any (p_month) and e.ticket = any (p_ticket)
              left join kaixu.end_user_cap u on u.customer_id = a.customer_id and u.end_user = a.end_user
              left join kaixu.end_user_month um
                on um.customer_id = a.customer_id and um.month = a.month and um.end_user = a.end_user
             where a.end_reason not in ('released', 'lost')
               and a.cost_nusd > coalesce(f.held_nusd, 0)
               and (e.ticket is null or e.end_reason = 'lost')
             order by a.customer_id, a.month, own.book, a.chain_id, a.at
        loop
            if (v_customer_id, v_month, v_own_book) is distinct from (r.customer_id, r.month, r.own_book) then
                v_customer_used := 0;
                v_limit_used := 0;
                v_key_used := 0;
                v_user_used := '{}';
            elsif v_chain_id is distinct from r.chain_id then
                v_key_used := 0;
            end if;
            v_customer_id := r.customer_id; v_month := r.month; v_chain_id := r.chain_id; v_own_book := r.own_book;
            v_used := case when r.user_room is not null then coalesce((v_user_used ->> r.end_user)::bigint, 0) end;
            v_billed := least(
                r.cost_nusd,
                r.own_nusd + greatest(0, r.customer_room - v_customer_used),
                case when r.key_room is not null then r.own_nusd + greatest(0, r.key_room - v_key_used) end,
                case when r.user_room is not null then r.own_nusd + greatest(0, r.user_room - v_used) end,
                case when r.limit_room is not null then r.own_nusd + greatest(0, r.limit_room - v_limit_used) end);
            v_limit_used := v_limit_used + greatest(0, v_billed - r.own_nusd);
            v_customer_used := v_customer_used + greatest(0, v_billed - r.own_nusd);
            v_key_used := v_key_used + greatest(0, v_billed - r.own_nusd);
            if r.user_room is not null then
                v_user_used := v_user_used || jsonb_build_object(r.end_user, v_used + greatest(0, v_billed - r.own_nusd));
            end if;
            if v_billed < r.cost_nusd then
                v_cost[r.at] := v_billed;
                v_units[r.at] := coalesce(v_units[r.at], '{}') || jsonb_build_object('unbilled_nusd', r.cost_nusd - v_billed);
            end if;
        end loop;
    end if;

    -- What is written below: a first settlement, or one that replaces a 'lost' event.
    if v_limited is not null then
        update kaixu.limit_use u
           set day_spent_nusd = u.day_spent_nusd
                   + kaixu.sum_on_day(p_at => s.admitted, p_nusd => s.cost_nusd, p_day => u.day),
               token_counts = kaixu.add_tokens(
                   p_counts => kaixu.token_window(p_counts => u.token_counts, p_newest => u.token_slot, p_now => v_second),
                   p_now => v_second, p_seconds => s.seconds, p_tokens => s.tokens),
               token_slot = v_second
          from (select d.customer_id, n.subject, array_agg(d.admitted_at) as admitted, array_agg(d.cost_nusd) as cost_nusd,
                       array_agg(floor(extract(epoch from d.admitted_at))::bigint) as seconds, array_agg(d.tokens) as tokens
                  from (select distinct on (a.ticket) a.customer_id, a.key_id, a.chain_id, a.provider, a.model,
                               coalesce(e.admitted_at, a.admitted_at) as admitted_at,
                               case when a.book <> 'ai'
                                         and kaixu.book_has_own_cap(
                                                 p_customer_id => a.customer_id, p_month => a.month, p_book => a.book) then 0
                                    else case when a.end_reason = 'released' then 0 else a.cost_nusd end
                                         - coalesce(e.cost_nusd, 0) end as cost_nusd,
                               case when a.end_reason = 'released' or a.operation like 'job:%' then 0
                                    else a.input_tokens + a.output_tokens end as tokens
                          from unnest(p_ticket, p_customer_id, p_key_id, p_chain_id, p_month, p_book, p_operation, p_provider,
                                      p_model, p_admitted_at, p_end_reason, v_cost, p_input_tokens, p_output_tokens)
                               a (ticket, customer_id, key_id, chain_id, month, book, operation, provider, model, admitted_at,
                                  end_reason, cost_nusd, input_tokens, output_tokens)
                          left join kaixu.usage_event e
                            on e.month = a.month and e.ticket = a.ticket and e.month = any (p_month) and e.ticket = any (p_ticket)
                         where a.customer_id = any (v_limited)
                           and case when e.ticket is null then a.end_reason <> 'released'
                                    else e.end_reason = 'lost' and a.end_reason <> 'lost' end) d
                  join kaixu.virtual_key k on k.id = d.key_id
                 cross join lateral unnest(kaixu.limit_subjects(
                           p_chain_id => d.chain_id, p_group_id => k.group_id, p_provider => d.provider, p_model => d.model))
                       n (subject)
                 group by d.customer_id, n.subject) s
         where u.customer_id = s.customer_id and u.subject = s.subject;
    end if;

    if not 'ai' = all (p_book) then
        perform kaixu.open_book(
                    p_customer_id => b.customer_id, p_chain_id => b.chain_id, p_month => b.month, p_book => b.book)
           from (select distinct a.customer_id, a.chain_id, a.month, a.book
                   from unnest(p_customer_id, p_chain_id, p_month, p_book) a (customer_id, chain_id, month, book)
                  where a.book <> 'ai') b;
    end if;

    return query
    with asked as (
        select distinct on (a.ticket) a.*
          from unnest(p_ticket, p_customer_id, p_key_id, p_chain_id, p_month, p_book, p_operation, p_provider, p_model,
                      p_price_id, p_install_id, p_request_id, p_admitted_at, p_duration_ms, p_end_reason,
                      p_usage_source, v_cost, p_vendor_cost_nusd, p_input_tokens, p_output_tokens,
                      p_cached_input_tokens, p_cache_write_tokens, p_reasoning_tokens, v_units, p_app_id, p_build_id,
                      p_end_user)
               a (ticket, customer_id, key_id, chain_id, month, book, operation, provider, model, price_id, install_id,
                  request_id, admitted_at, duration_ms, end_reason, usage_source, cost_nusd, vendor_cost_nusd,
                  input_tokens, output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens, units, app_id,
                  build_id, end_user)
    ), freed as (
        select f.ticket, f.held_nusd, f.granted_nusd, f.end_user
          from unnest(v_freed, v_freed_nusd, v_granted_nusd, v_freed_user) f (ticket, held_nusd, granted_nusd, end_user)
    ), lost as (
        select e.ticket, e.cost_nusd, e.vendor_cost_nusd, e.vendor_cost_known, e.input_tokens, e.output_tokens,
               e.cached_input_tokens, e.cache_write_tokens, e.reasoning_tokens, e.units, e.app_id, e.end_user,
               e.admitted_at,
               e.rolled_up is true or e.id < v_next_id as in_rollups
          from asked a
          join kaixu.usage_event e
            on e.month = a.month and e.ticket = a.ticket and e.month = any (p_month) and e.ticket = any (v_lost)
         where v_lost is not null and a.end_reason <> 'lost'
    ), written as (
        insert into kaixu.usage_event as e
               (ticket, month, customer_id, key_id, chain_id, book, operation, provider, model, price_id, cost_nusd,
                vendor_cost_nusd, vendor_cost_known, input_tokens, output_tokens, cached_input_tokens,
                cache_write_tokens, reasoning_tokens, units, usage_source, end_reason, install_id, request_id,
                admitted_at, duration_ms, granted_nusd, app_id, build_id, end_user, rolled_up)
        select a.ticket, a.month, a.customer_id, a.key_id, a.chain_id, a.book, a.operation, a.provider, a.model,
               a.price_id, a.cost_nusd, coalesce(a.vendor_cost_nusd, 0), a.vendor_cost_nusd is not null,
               a.input_tokens, a.output_tokens, a.cached_input_tokens, a.cache_write_tokens, a.reasoning_tokens,
               a.units, a.usage_source, a.end_reason, a.install_id, a.request_id, a.admitted_at, a.duration_ms,
               f.granted_nusd, a.app_id, a.build_id, a.end_user, true
          from asked a
          left join freed f on f.ticket = a.ticket
         where a.end_reason <> 'released'
        on conflict (month, ticket) do update
           set cost_nusd = excluded.cost_nusd, price_id = excluded.price_id, vendor_cost_nusd = excluded.vendor_cost_nusd,
               vendor_cost_known = excluded.vendor_cost_known,
               input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
               cached_input_tokens = excluded.cached_input_tokens, cache_write_tokens = excluded.cache_write_tokens,
               reasoning_tokens = excluded.reasoning_tokens, units = excluded.units,
               usage_source = excluded.usage_source, end_reason = excluded.end_reason,
               duration_ms = excluded.duration_ms, granted_nusd = coalesce(excluded.granted_nusd, e.granted_nusd),
               app_id = excluded.app_id, build_id = excluded.build_id, end_user = excluded.end_user
         where e.end_reason = 'lost' and excluded.end_reason <> 'lost'
        returning e.ticket
    ), forgiven as (
        -- The reaper may have charged a call that never reached the vendor.
        update kaixu.usage_event e
           set cost_nusd = 0, vendor_cost_nusd = 0, input_tokens = 0, output_tokens = 0, cached_input_tokens = 0,
               cache_write_tokens = 0, reasoning_tokens = 0
          from asked a
         where v_lost is not null and a.end_reason = 'released' and e.month = a.month and e.ticket = a.ticket
           and e.month = any (p_month) and e.ticket = any (v_lost) and e.end_reason = 'lost'
    ), change as (
        select a.customer_id, a.chain_id, a.month, a.book,
               coalesce(f.held_nusd, 0) as freed_nusd,
               case when w.ticket is null then 0 else a.cost_nusd end - coalesce(l.cost_nusd, 0) as cost_nusd,
               case when w.ticket is null then 0 else coalesce(a.vendor_cost_nusd, 0) end - coalesce(l.vendor_cost_nusd, 0) as vendor_cost_nusd,
               case when w.ticket is null or a.vendor_cost_nusd is not null then 0 else a.cost_nusd end
                   - case when l.vendor_cost_known then 0 else coalesce(l.cost_nusd, 0) end as uncosted_nusd,
               case when w.ticket is null then 0 else a.input_tokens end - coalesce(l.input_tokens, 0) as input_tokens,
               case when w.ticket is null then 0 else a.output_tokens end - coalesce(l.output_tokens, 0) as output_tokens,
               case when w.ticket is null or l.ticket is not null then 0 else 1 end as calls
          from asked a
          left join freed f on f.ticket = a.ticket
          left join written w on w.ticket = a.ticket
          left join lost l on l.ticket = a.ticket
    ), changes as (
        insert into kaixu.usage_change
               (bucket, customer_id, chain_id, provider, model, deployment, book, calls, errors, input_tokens, output_tokens,
                cached_input_tokens, cache_write_tokens, reasoning_tokens, spent_nusd, vendor_cost_nusd, uncosted_nusd,
                latency_class)
        select kaixu.usage_bucket(coalesce(l.admitted_at, a.admitted_at), a.month), a.customer_id, a.chain_id, a.provider, a.model,
               coalesce(a.units #>> '{call,deployment}', ''), a.book, 1, (a.end_reason <> 'complete')::integer,
               a.input_tokens, a.output_tokens, a.cached_input_tokens, a.cache_write_tokens, a.reasoning_tokens,
               a.cost_nusd, coalesce(a.vendor_cost_nusd, 0), case when a.vendor_cost_nusd is null then a.cost_nusd else 0 end,
               case when a.end_reason <> 'lost' then kaixu.latency_class(a.duration_ms) end
          from written w
          join asked a on a.ticket = w.ticket
          left join lost l on l.ticket = w.ticket
         where l.in_rollups is not false
        union all
        -- What the roll-ups have of a 'lost' event that is replaced; of a forgiven one they keep the call.
        select kaixu.usage_bucket(l.admitted_at, a.month), a.customer_id, a.chain_id, a.provider, a.model,
               coalesce(l.units #>> '{call,deployment}', ''), a.book, -(w.ticket is not null)::integer,
               -(w.ticket is not null)::integer, -l.input_tokens, -l.output_tokens, -l.cached_input_tokens,
               -l.cache_write_tokens, -l.reasoning_tokens, -l.cost_nusd, -l.vendor_cost_nusd,
               case when l.vendor_cost_known then 0 else -l.cost_nusd end, null
          from lost l
          join asked a on a.ticket = l.ticket
          left join written w on w.ticket = l.ticket
         where l.in_rollups and (w.ticket is not null or a.end_reason = 'released')
    ), tagged as (
        -- Tags come with the call; a replaced event may have had others, or none.
        select a.customer_id, a.month, a.book, a.app_id, a.end_user, 1 as calls, a.input_tokens, a.output_tokens, a.cost_nusd,
               coalesce(a.vendor_cost_nusd, 0) as vendor_cost_nusd,
               case when a.vendor_cost_nusd is null then a.cost_nusd else 0 end as uncosted_nusd, 0 as freed_nusd
          from written w
          join asked a on a.ticket = w.ticket
         where a.app_id is not null or a.end_user is not null
        union all
        select a.customer_id, a.month, a.book, l.app_id, l.end_user, -(w.ticket is not null)::integer, -l.input_tokens,
               -l.output_tokens, -l.cost_nusd, -l.vendor_cost_nusd,
               case when l.vendor_cost_known then 0 else -l.cost_nusd end, 0
          from lost l
          join asked a on a.ticket = l.ticket
          left join written w on w.ticket = l.ticket
         where (l.app_id is not null or l.end_user is not null) and (w.ticket is not null or a.end_reason = 'released')
        union all
        select a.customer_id, a.month, a.book, null, f.end_user, 0, 0, 0, 0, 0, 0, f.held_nusd
          from freed f
          join asked a on a.ticket = f.ticket
         where f.end_user is not null
    ), apps as (
        insert into kaixu.app_month as m
               (customer_id, month, app_id, book, calls, input_tokens, output_tokens, spent_nusd, vendor_cost_nusd,
                uncosted_nusd)
        select t.customer_id, t.month, t.app_id, t.book, sum(t.calls), sum(t.input_tokens), sum(t.output_tokens),
               sum(t.cost_nusd), sum(t.vendor_cost_nusd), sum(t.uncosted_nusd)
          from tagged t
         where t.app_id is not null
         group by t.customer_id, t.month, t.app_id, t.book
        on conflict (customer_id, month, app_id, book) do update
           set calls = m.calls + excluded.calls, input_tokens = m.input_tokens + excluded.input_tokens,
               output_tokens = m.output_tokens + excluded.output_tokens, spent_nusd = m.spent_nusd + excluded.spent_nusd,
               vendor_cost_nusd = m.vendor_cost_nusd + excluded.vendor_cost_nusd,
               uncosted_nusd = m.uncosted_nusd + excluded.uncosted_nusd
    ), users as (
        insert into kaixu.end_user_month as m
               (customer_id, month, end_user, calls, input_tokens, output_tokens, spent_nusd)
        select t.customer_id, t.month, t.end_user, sum(t.calls), sum(t.input_tokens), sum(t.output_tokens), sum(t.cost_nusd)
          from tagged t
         where t.end_user is not null
         group by t.customer_id, t.month, t.end_user
        on conflict (customer_id, month, end_user) do update
           set calls = m.calls + excluded.calls, input_tokens = m.input_tokens + excluded.input_tokens,
               output_tokens = m.output_tokens + excluded.output_tokens, spent_nusd = m.spent_nusd + excluded.spent_nusd,
               held_nusd = m.held_nusd - (select coalesce(sum(t.freed_nusd), 0) from tagged t
                                           where t.customer_id = m.customer_id and t.month = m.month
                                             and t.end_user = m.end_user)
    ), customers as (
        insert into kaixu.customer_month as m
               (customer_id, month, book, spent_nusd, vendor_cost_nusd, uncosted_nusd, calls, input_tokens, output_tokens)
        select d.customer_id, d.month, d.book, sum(d.cost_nusd), sum(d.vendor_cost_nusd), sum(d.uncosted_nusd),
               sum(d.calls), sum(d.input_tokens), sum(d.output_tokens)
          from change d
         group by d.customer_id, d.month, d.book
        on conflict (customer_id, month, book) do update
           set spent_nusd = m.spent_nusd + excluded.spent_nusd,
               held_nusd = m.held_nusd - (select coalesce(sum(d.freed_nusd), 0) from change d
                                           where d.customer_id = m.customer_id and d.month = m.month and d.book = m.book),
               vendor_cost_nusd = m.vendor_cost_nusd + excluded.vendor_cost_nusd,
               uncosted_nusd = m.uncosted_nusd + excluded.uncosted_nusd,
               calls = m.calls + excluded.calls,
               input_tokens = m.input_tokens + excluded.input_tokens,
               output_tokens = m.output_tokens + excluded.output_tokens,
               updated_at = now()
        returning m.customer_id, m.month, m.book, m.spent_nusd, m.held_nusd, m.extra_nusd, m.has_own_cap
    ), keys as (
        insert into kaixu.key_month as m
               (chain_id, month, book, customer_id, spent_nusd, vendor_cost_nusd, uncosted_nusd, calls, input_tokens,
                output_tokens)
        select d.chain_id, d.month, d.book, d.customer_id, sum(d.cost_nusd), sum(d.vendor_cost_nusd), sum(d.uncosted_nusd),
               sum(d.calls), sum(d.input_tokens), sum(d.output_tokens)
          from change d
         group by d.chain_id, d.month, d.book, d.customer_id
        on conflict (chain_id, month, book) do update
           set spent_nusd = m.spent_nusd + excluded.spent_nusd,
               held_nusd = m.held_nusd - (select coalesce(sum(d.freed_nusd), 0) from change d
                                           where d.chain_id = m.chain_id and d.month = m.month and d.book = m.book),
               vendor_cost_nusd = m.vendor_cost_nusd + excluded.vendor_cost_nusd,
               uncosted_nusd = m.uncosted_nusd + excluded.uncosted_nusd,
               calls = m.calls + excluded.calls,
               input_tokens = m.input_tokens + excluded.input_tokens,
               output_tokens = m.output_tokens + excluded.output_tokens,
               updated_at = now()
        returning m.chain_id, m.month, m.book, m.spent_nusd, m.held_nusd, m.has_own_cap
    ), customer_totals as (
        -- The books that were just written, as they are now, and the others as they were.
        select w.customer_id, w.month, (coalesce(w.spent_nusd, 0) + coalesce(o.spent_nusd, 0))::bigint as spent_nusd,
               (coalesce(w.held_nusd, 0) + coalesce(o.held_nusd, 0))::bigint as held_nusd,
               (coalesce(w.extra_nusd, 0) + coalesce(o.extra_nusd, 0))::bigint as extra_nusd
          from (select x.customer_id, x.month, array_agg(x.book) as books,
                       sum(x.spent_nusd) filter (where not x.has_own_cap) as spent_nusd,
                       sum(x.held_nusd) filter (where not x.has_own_cap) as held_nusd,
                       sum(x.extra_nusd) filter (where not x.has_own_cap) as extra_nusd
                  from customers x group by x.customer_id, x.month) w
         cross join lateral (select sum(m.spent_nusd) as spent_nusd, sum(m.held_nusd) as held_nusd,
                                    sum(m.extra_nusd) as extra_nusd
                               from kaixu.customer_month m
                              where m.customer_id = w.customer_id and m.month = w.month and m.book <> all (w.books)
                                and not m.has_own_cap) o
    ), key_totals as (
        select w.chain_id, w.month, (coalesce(w.spent_nusd, 0) + coalesce(o.spent_nusd, 0))::bigint as spent_nusd,
               (coalesce(w.held_nusd, 0) + coalesce(o.held_nusd, 0))::bigint as held_nusd
          from (select x.chain_id, x.month, array_agg(x.book) as books,
                       sum(x.spent_nusd) filter (where not x.has_own_cap) as spent_nusd,
                       sum(x.held_nusd) filter (where not x.has_own_cap) as held_nusd
                  from keys x group by x.chain_id, x.month) w
         cross join lateral (select sum(m.spent_nusd) as spent_nusd, sum(m.held_nusd) as held_nusd
                               from kaixu.key_month m
                              where m.chain_id = w.chain_id and m.month = w.month and m.book <> all (w.books)
                                and not m.has_own_cap) o
    )
    select a.ticket, w.ticket is not null, a.month,
           c.monthly_cap_nusd + cm.extra_nusd, cm.spent_nusd, cm.held_nusd,
           k.monthly_cap_nusd, km.spent_nusd, km.held_nusd
      from asked a
      left join written w on w.ticket = a.ticket
      join kaixu.customer c on c.id = a.customer_id
      join kaixu.virtual_key k on k.id = a.key_id
      join customer_totals cm on cm.customer_id = a.customer_id and cm.month = a.month
      join key_totals km on km.chain_id = a.chain_id and km.month = a.month;

    if v_watched is not null or date_trunc('month', now() at time zone 'UTC') > any (p_month) then
        perform kaixu.after_settling(p_watched => v_watched, p_customer_id => p_customer_id, p_month => p_month);
    end if;
end
$$;
