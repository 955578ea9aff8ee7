-- token_window: a ring of the tokens of the last seconds as it is at second p_now, whatever second it was written at.
--
-- As window_now for calls, with larger numbers: 61 slots, p_newest is the newest. null: no tokens yet.
create or replace function kaixu.token_window(p_counts bigint[], p_newest bigint, p_now bigint)
returns bigint[]
language plpgsql immutable as $$
declare
    c_size      constant integer := 61;
    v_counts    bigint[] := p_counts;
    v_slot      bigint := p_newest;
    v_later     bigint := 0;
begin
    if p_counts is null or abs(p_now - p_newest) >= c_size then
        return array_fill(0::bigint, array[c_size]);
    end if;
    while v_slot < p_now loop
        v_slot := v_slot + 1;
        v_counts[v_slot % c_size + 1] := 0;
    end loop;
    while v_slot > p_now loop
        v_later := v_later + v_counts[v_slot % c_size + 1];
        v_counts[v_slot % c_size + 1] := 0;
        v_slot := v_slot - 1;
    end loop;
    v_counts[p_now % c_size + 1] := v_counts[p_now % c_size + 1] + v_later;
    return v_counts;
end
$$;
