-- latency_sum: the sum of two histograms of latency classes.
create or replace function kaixu.latency_sum(p_one bigint[], p_other bigint[])
returns bigint[]
language sql immutable parallel safe as $$
    select array_agg(coalesce(u.one, 0) + coalesce(u.other, 0) order by u.at)
      from unnest(p_one, p_other) with ordinality u (one, other, at)
$$;
