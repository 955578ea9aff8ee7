-- model_allowed: whether an allowlist allows this model, under its lane's name or the name that the client used.
--
-- The list is {"provider" | "*": ["model" | "*"]}; null allows everything, {} nothing.
-- Providers are compared in lower case, models as written.
create or replace function kaixu.model_allowed(p_list jsonb, p_provider text, p_asked text, p_model text)
returns boolean
language sql immutable parallel safe as $$
    select p_list is null
        or coalesce((p_list -> lower(p_provider)) ?| array[p_model, '*'], false)
        or coalesce((p_list -> lower(p_asked)) ?| array[p_model, '*'], false)
        or coalesce((p_list -> '*') ?| array[p_model, '*'], false)
$$;
