-- tokens_free_in: in how many seconds at most a ring of tokens has p_need free below p_limit.
--
-- p_counts is a ring whose newest slot is p_newest (see token_window). The oldest tokens leave first. null: never.
create or replace function kaixu.tokens_free_in(p_counts bigint[], p_newest bigint, p_limit bigint, p_need bigint)
returns integer
language plpgsql immutable as $$
declare
    c_size  constant integer := 61;
    v_left  bigint := (select sum(s) from unnest(p_counts) s);
begin
    if p_need > p_limit then
        return null;
    end if;
    for v_in in 1 .. c_size loop
        v_left := v_left - p_counts[(p_newest + v_in) % c_size + 1];
        if v_left + p_need <= p_limit then
            return v_in;
        end if;
    end loop;
    return c_size;
end
$$;
