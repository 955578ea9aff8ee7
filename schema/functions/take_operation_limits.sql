-- take_operation_limits: let a customer call an operation of an integration, by the operation's own limits.
--
-- p_most, p_per_s, p_chain_id: the operation's rates; p_chain_id 0: the calls of all keys of the customer count.
-- p_at_once: how many calls of the customer may run at the same time; null: any. Those count that have a reservation.
-- Returns one row. refused: 'RATE_LIMITED' (bound is the rate's position, from 1) | 'TOO_MANY_AT_ONCE' | null. All
-- limits hold, or nothing is counted.
-- Lock: takes the customer's row; windows and calls are read and written only under it.
create or replace function kaixu.take_operation_limits(
    p_customer_id   bigint,
    p_operation     text,
    p_ticket        uuid,
    p_at_once       integer,
    p_most          integer[],
    p_per_s         integer[],
    p_chain_id      bigint[]
) returns table (
    refused         text,
    bound           integer,
    retry_after_s   integer
)
language plpgsql
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    v_now       double precision;
    r           record;
    v_slot      bigint;
    v_counts    integer[];
begin
    perform set_config('synchronous_commit', 'off', true);
    perform 1 from kaixu.customer c where c.id = p_customer_id for no key update;
    v_now := extract(epoch from clock_timestamp());

    if p_at_once is not null then
        delete from kaixu.operation_call o
         where o.customer_id = p_customer_id and o.operation = p_operation
           and not exists (select from kaixu.reservation v where v.ticket = o.ticket);
        if (select count(*) from kaixu.operation_call o
             where o.customer_id = p_customer_id and o.operation = p_operation) >= p_at_once then
            refused := 'TOO_MANY_AT_ONCE';
            retry_after_s := 1;
            return next;
            return;
        end if;
    end if;

    for r in
        select l.at, l.most, l.per_s, l.chain_id, w.slot, w.counts
          from unnest(p_most, p_per_s, p_chain_id) with ordinality l (most, per_s, chain_id, at)
          left join kaixu.operation_window w
            on w.customer_id = p_customer_id and w.operation = p_operation and w.per_s = l.per_s
           and w.chain_id = l.chain_id
         order by l.at
    loop
        v_slot := floor(v_now * 60 / r.per_s);
        v_counts := coalesce(kaixu.window_now(r.counts, r.slot, v_slot, 61), array_fill(0, array[61]));
        if (select sum(s) from unnest(v_counts) s) >= r.most then
            refused := 'RATE_LIMITED';
            bound := r.at;
            -- The end of the slot that has to pass, at least a second.
            retry_after_s := greatest(1, ceil(
                (v_slot + kaixu.window_frees_in(v_counts, v_slot, r.most)) * r.per_s / 60.0 - v_now));
            return next;
            return;
        end if;
    end loop;

    for r in
        select l.per_s, l.chain_id
          from unnest(p_per_s, p_chain_id) l (per_s, chain_id)
         group by l.per_s, l.chain_id
    loop
        v_slot := floor(v_now * 60 / r.per_s);
        select kaixu.window_now(w.counts, w.slot, v_slot, 61) into v_counts
          from kaixu.operation_window w
         where w.customer_id = p_customer_id and w.operation = p_operation and w.per_s = r.per_s
           and w.chain_id = r.chain_id;
        v_counts := coalesce(v_counts, array_fill(0, array[61]));
        v_counts[v_slot % 61 + 1] := v_counts[v_slot % 61 + 1] + 1;
        insert into kaixu.operation_window as w (operation, per_s, chain_id, customer_id, slot, counts)
        values (p_operation, r.per_s, r.chain_id, p_customer_id, v_slot, v_counts)
        on conflict (customer_id, operation, per_s, chain_id) do update set slot = v_slot, counts = v_counts;
    end loop;
    if p_at_once is not null then
        insert into kaixu.operation_call (ticket, customer_id, operation)
        values (p_ticket, p_customer_id, p_operation)
        on conflict (ticket) do nothing;
    end if;
    return next;
end
$$;
