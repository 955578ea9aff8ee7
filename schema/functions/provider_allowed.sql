-- provider_allowed: whether an allowlist allows this provider, under its lane's name or the name that the client used.
--
-- The list is in lower case; null, empty or one with '*' allows every provider.
create or replace function kaixu.provider_allowed(p_list text[], p_provider text, p_asked text)
returns boolean
language sql immutable parallel safe as $$
    select p_list is null
        or cardinality(p_list) = 0
        or p_list && array[lower(p_provider), lower(p_asked), '*']
$$;
