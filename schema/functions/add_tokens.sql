-- add_tokens: a ring of tokens (see token_window) whose newest slot is p_now, with the tokens of further calls.
--
-- p_seconds are the seconds of the calls' admissions: what has left the window is left out, what is later than p_now,
-- because the clock was set back, counts as of p_now. A slot never falls below 0.
create or replace function kaixu.add_tokens(p_counts bigint[], p_now bigint, p_seconds bigint[], p_tokens bigint[])
returns bigint[]
language plpgsql immutable as $$
declare
    c_size      constant integer := 61;
    v_counts    bigint[] := p_counts;
    v_slot      integer;
begin
    for i in 1 .. coalesce(cardinality(p_seconds), 0) loop
        if p_seconds[i] > p_now - c_size then
            v_slot := least(p_seconds[i], p_now) % c_size + 1;
            v_counts[v_slot] := greatest(0, v_counts[v_slot] + p_tokens[i]);
        end if;
    end loop;
    return v_counts;
end
$$;
