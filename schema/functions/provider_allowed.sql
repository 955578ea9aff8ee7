-- provider_allowed: does an allowlist let this provider through?
--
-- The list is in lower case; null, empty or one with '*' lets every provider through.
create or replace function kaixu.provider_allowed(p_list text[], p_provider text)
returns boolean
language sql immutable parallel safe as $$
    select p_list is null
        or cardinality(p_list) = 0
        or lower(p_provider) = any (p_list)
        or '*' = any (p_list)
$$;
