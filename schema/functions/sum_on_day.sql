-- sum_on_day: the sum of the amounts whose time lies on a day (UTC).
create or replace function kaixu.sum_on_day(p_at timestamptz[], p_nusd bigint[], p_day date)
returns bigint
language sql immutable as $$
    select coalesce(sum(a.nusd), 0)::bigint
      from unnest(p_at, p_nusd) a (at, nusd)
     where (a.at at time zone 'UTC')::date = p_day
$$;
