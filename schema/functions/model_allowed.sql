-- model_allowed: does an allowlist let this model through, under its lane's name or the one it was asked by?
--
-- The list is {"provider" | "*": ["model" | "*"]}; null lets everything through, {} nothing.
-- Providers are compared in lower case, models as written.
create or replace function kaixu.model_allowed(p_list jsonb, p_provider text, p_asked text, p_model text)
returns boolean
language sql immutable parallel safe as $$
    select p_list is null
        or coalesce((p_list -> lower(p_provider)) ?| array[p_model, '*'], false)
        or coalesce((p_list -> lower(p_asked)) ?| array[p_model, '*'], false)
        or coalesce((p_list -> '*') ?| array[p_model, '*'], false)
$$;
