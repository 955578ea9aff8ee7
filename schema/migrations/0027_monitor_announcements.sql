-- Monitor events become visible in the order of their ids, and every statement that adds some announces them.
--
-- Writers take turns: an identity is given before its transaction commits, so of two writers at the same time the
-- later id could be visible first, and whoever reads on from the last id it has seen would miss the earlier one. Each
-- writer writes its events in one statement of its own, so the wait is that statement's.
--
-- Triggers, so that gateways of the last release take part too while both run. They decide nothing. Both are triggers
-- of the statement: a batch of 500 events costs as much as one event.

create function kaixu.take_turns_with_events() returns trigger
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('kaixu.gateway_event', 0));
    return null;
end;
$$;

-- The payload is a hint: the first and the last id of the batch. Readers look for themselves.
create function kaixu.announce_events() returns trigger
language plpgsql as $$
declare
    v_first bigint;
    v_last  bigint;
begin
    select min(a.id), max(a.id) into v_first, v_last from added a;
    if v_first is not null then
        perform pg_notify('kaixu_gateway_event', v_first || ' ' || v_last);
    end if;
    return null;
end;
$$;

create trigger gateway_event_takes_turns before insert on kaixu.gateway_event
    for each statement execute function kaixu.take_turns_with_events();

create trigger gateway_event_is_announced after insert on kaixu.gateway_event
    referencing new table as added
    for each statement execute function kaixu.announce_events();
