-- window_now: a ring of slots as it is at slot p_now, whatever slot it was written at.
--
-- p_counts is a ring of p_size slots whose newest is p_newest (slot s is at s % p_size + 1). Slots that have left the
-- window are cleared. If the clock was set back, so that p_newest is in the future, the counts of future slots count as
-- of now: the limit holds over a small step of the clock, and no call is refused for longer than a window. A ring that
-- is wholly in the future is cleared.
create or replace function kaixu.window_now(p_counts integer[], p_newest bigint, p_now bigint, p_size integer)
returns integer[]
language plpgsql immutable as $$
declare
    v_counts    integer[] := p_counts;
    v_slot      bigint := p_newest;
    v_later     integer := 0;
begin
    if p_counts is null or abs(p_now - p_newest) >= p_size then
        return array_fill(0, array[p_size]);
    end if;
    while v_slot < p_now loop
        v_slot := v_slot + 1;
        v_counts[v_slot % p_size + 1] := 0;
    end loop;
    while v_slot > p_now loop
        v_later := v_later + v_counts[v_slot % p_size + 1];
        v_counts[v_slot % p_size + 1] := 0;
        v_slot := v_slot - 1;
    end loop;
    if v_later > 0 then
        v_counts[p_now % p_size + 1] := v_counts[p_now % p_size + 1] + v_later;
    end if;
    return v_counts;
end
$$;
