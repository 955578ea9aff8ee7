-- latency_counts: a histogram of latency classes, 32 numbers, from classes and how many calls each counts.
--
-- Calls without a class are not counted.
create or replace function kaixu.latency_counts(p_classes smallint[], p_calls integer[])
returns bigint[]
language sql immutable parallel safe as $$
    select array_agg(coalesce(n.calls, 0) order by k.class)
      from generate_series(0, 31) k (class)
      left join (select u.class, sum(u.calls) as calls from unnest(p_classes, p_calls) u (class, calls) group by u.class) n
        on n.class = k.class
$$;
