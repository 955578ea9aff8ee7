-- window_frees_in: in how many slots from now a full sliding window will let one more call in.
--
-- p_counts is a ring of slots whose newest is p_newest (at p_newest % size + 1). The oldest calls leave
-- first; the answer is the age at which enough of them have left. A limit of 0 never frees: the ring's size.
create or replace function kaixu.window_frees_in(p_counts integer[], p_newest bigint, p_limit integer)
returns integer
language plpgsql immutable as $$
declare
    v_size  constant integer := cardinality(p_counts);
    v_left  integer := (select sum(s) from unnest(p_counts) s);
begin
    for v_in in 1 .. v_size loop
        v_left := v_left - p_counts[(p_newest + v_in) % v_size + 1];
        if v_left < p_limit then
            return v_in;
        end if;
    end loop;
    return v_size;
end
$$;
