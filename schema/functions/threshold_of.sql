-- threshold_of: the balance below which a reaction is to run, by a customer's settings; null: its balance is not watched.
--
-- Lock: none.
create or replace function kaixu.threshold_of(p_reaction kaixu.reaction, p_settings jsonb)
returns bigint
language sql immutable as $$
    select case when p_reaction.enabled is not null and (p_settings -> p_reaction.enabled) is distinct from 'true' then null
                when p_settings ? p_reaction.threshold
                then case when jsonb_typeof(p_settings -> p_reaction.threshold) = 'number'
                               and abs((p_settings -> p_reaction.threshold)::numeric) < 1000000000000000
                          then trunc((p_settings -> p_reaction.threshold)::numeric)::bigint * p_reaction.threshold_unit_nusd
                     end
                else p_reaction.threshold_default * p_reaction.threshold_unit_nusd end
$$;
