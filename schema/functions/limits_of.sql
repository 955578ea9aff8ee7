-- limits_of: the limits that count a call of a key, besides the requests of the key and the months' caps.
--
-- A row for each subject that has any: the customer, the key chain, the key chain's calls of this model, the key's group.
-- place: the order in which a client should learn of them. prefix begins the scope of a refusal. subject is that of
-- kaixu.limit_use. chains and model say which calls count: null, all. p_names: see model_limits.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.limits_of(
    p_customer_id   bigint,
    p_key_id        bigint,
    p_provider      text,
    p_model         text,
    p_names         text
) returns table (
    place           integer,
    prefix          text,
    subject         text,
    chains          bigint[],
    model           text,
    rpm             integer,
    tpm             integer,
    day_cap_nusd    bigint,
    month_cap_nusd  bigint
)
language plpgsql stable as $$
#variable_conflict use_column
declare
    v_key   kaixu.virtual_key;
begin
    select k.* into v_key from kaixu.virtual_key k where k.id = p_key_id;
    return query
        select 1, '', 'customer', null::bigint[], null::text, null::integer, c.tpm_limit, c.day_cap_nusd, null::bigint
          from kaixu.customer c
         where c.id = p_customer_id and (c.tpm_limit is not null or c.day_cap_nusd is not null);
    if v_key.tpm_limit is not null or v_key.day_cap_nusd is not null then
        return query
            select 2, 'key_', 'key:' || v_key.chain_id, array[v_key.chain_id], null::text, null::integer, v_key.tpm_limit,
                   v_key.day_cap_nusd, null::bigint;
    end if;
    if v_key.limits is not null and p_model <> '' then
        return query
            select 3, 'model_', 'model:' || v_key.chain_id || ':' || p_provider || '/' || p_model, array[v_key.chain_id],
                   p_model, l.rpm, l.tpm, l.day_cap_nusd, null::bigint
              from kaixu.model_limits(p_limits => v_key.limits, p_names => p_names) l
             where l.rpm is not null or l.tpm is not null or l.day_cap_nusd is not null;
    end if;
    if v_key.group_id is not null then
        return query
            select 4, 'group_', 'group:' || g.id,
                   array(select distinct k.chain_id from kaixu.virtual_key k where k.group_id = g.id), null::text, g.rpm_limit,
                   g.tpm_limit, g.day_cap_nusd, g.monthly_cap_nusd
              from kaixu.key_group g
             where g.id = v_key.group_id
               and (g.rpm_limit is not null or g.tpm_limit is not null or g.day_cap_nusd is not null
                    or g.monthly_cap_nusd is not null);
    end if;
end
$$;
