-- model_limits: what a key's limits for models say about one model, under any of its names.
--
-- p_limits is {"provider/model": {"rpm": …, "tpm": …, "day_cap_nusd": …}}, p_names the model's names, a line each. Where
-- several of them have limits, the lowest of each kind holds. One row; null: no limit.
create or replace function kaixu.model_limits(p_limits jsonb, p_names text)
returns table (rpm integer, tpm integer, day_cap_nusd bigint)
language sql immutable as $$
    select min((l.value ->> 'rpm')::integer), min((l.value ->> 'tpm')::integer), min((l.value ->> 'day_cap_nusd')::bigint)
      from unnest(string_to_array(p_names, e'\n')) n (name)
      join jsonb_each(p_limits) l on l.key = n.name
$$;
