-- limit_subjects: every subject of kaixu.limit_use that counts a call, whether it has limits or not.
create or replace function kaixu.limit_subjects(p_chain_id bigint, p_group_id bigint, p_provider text, p_model text)
returns text[]
language sql immutable as $$
    select array['customer', 'key:' || p_chain_id, 'model:' || p_chain_id || ':' || p_provider || '/' || p_model,
                 'group:' || p_group_id]
$$;
