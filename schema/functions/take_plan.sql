-- take_plan: write the values of a customer's plan to its row and its keys, where they have none of their own.
--
-- A column without a value (null), or with one of a plan (from_plan), gets the plan's; others are the customer's own and
-- stay. A cap is never null: without a plan's it stays as it is.
-- Returns whether the row changed.
-- Lock: the caller holds the customer's row, so admission sees all of a plan or nothing of it. Takes the advisory lock of
-- plans for share, so that no version is written between reading it and the commit; who writes one takes no customer's row.
create or replace function kaixu.take_plan(p_customer_id bigint) returns boolean
language plpgsql as $$
declare
    v_version   bigint;
    v_settings  jsonb;
    v_changed   boolean;
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('kaixu.plan_version', 0));
    select f.version_id, f.settings into v_version, v_settings
      from kaixu.customer c
     cross join lateral kaixu.plan_in_force(c.plan_name, c.plan_version_id) f
     where c.id = p_customer_id;
    v_settings := coalesce(v_settings, '{}');

    with planned as (
        select c.id,
               case when 'monthly_cap_nusd' = any (c.from_plan)
                    then coalesce((v_settings ->> 'monthly_cap_nusd')::bigint, c.monthly_cap_nusd)
                    else c.monthly_cap_nusd end as cap,
               case when c.max_devices_per_key is null or 'max_devices_per_key' = any (c.from_plan)
                    then (v_settings ->> 'max_devices_per_key')::integer
                    else c.max_devices_per_key end as devices,
               case when c.allowed_providers is null or 'allowed_providers' = any (c.from_plan)
                    then (select array_agg(p.value order by p.at)
                            from jsonb_array_elements_text(v_settings -> 'allowed_providers')
                                 with ordinality p (value, at))
                    else c.allowed_providers end as providers,
               case when c.allowed_models is null or 'allowed_models' = any (c.from_plan)
                    then v_settings -> 'allowed_models'
                    else c.allowed_models end as models,
               case when c.max_vectors is null or 'max_vectors' = any (c.from_plan)
                    then (v_settings ->> 'max_vectors')::bigint
                    else c.max_vectors end as vectors,
               case when c.end_user_cap_nusd is null or 'end_user_cap_nusd' = any (c.from_plan)
                    then (v_settings ->> 'end_user_cap_nusd')::bigint
                    else c.end_user_cap_nusd end as user_cap,
               case when c.tpm_limit is null or 'tpm_limit' = any (c.from_plan)
                    then (v_settings ->> 'tpm_limit')::integer
                    else c.tpm_limit end as tpm,
               case when c.day_cap_nusd is null or 'day_cap_nusd' = any (c.from_plan)
                    then (v_settings ->> 'day_cap_nusd')::bigint
                    else c.day_cap_nusd end as day_cap,
               coalesce((v_settings ->> 'price_factor_millionths')::integer, 1000000) as factor,
               array_remove(array[
                   case when 'monthly_cap_nusd' = any (c.from_plan) then 'monthly_cap_nusd' end,
                   case when c.max_devices_per_key is null or 'max_devices_per_key' = any (c.from_plan)
                        then 'max_devices_per_key' end,
                   case when c.allowed_providers is null or 'allowed_providers' = any (c.from_plan)
                        then 'allowed_providers' end,
                   case when c.allowed_models is null or 'allowed_models' = any (c.from_plan)
                        then 'allowed_models' end,
                   case when c.max_vectors is null or 'max_vectors' = any (c.from_plan) then 'max_vectors' end,
                   case when c.end_user_cap_nusd is null or 'end_user_cap_nusd' = any (c.from_plan)
                        then 'end_user_cap_nusd' end,
                   case when c.tpm_limit is null or 'tpm_limit' = any (c.from_plan) then 'tpm_limit' end,
                   case when c.day_cap_nusd is null or 'day_cap_nusd' = any (c.from_plan)
                        then 'day_cap_nusd' end], null) as from_plan
          from kaixu.customer c
         where c.id = p_customer_id
    )
    update kaixu.customer c
       set plan_version_id = v_version, monthly_cap_nusd = p.cap, max_devices_per_key = p.devices,
           allowed_providers = p.providers, allowed_models = p.models, max_vectors = p.vectors,
           end_user_cap_nusd = p.user_cap, tpm_limit = p.tpm, day_cap_nusd = p.day_cap, price_factor_millionths = p.factor,
           -- The cap is also one of no plan, until there is a plan with one.
           from_plan = array(select n from unnest(p.from_plan) n where v_settings ? n or n = 'monthly_cap_nusd')
      from planned p
     where c.id = p.id
       and (c.plan_version_id, c.monthly_cap_nusd, c.max_devices_per_key, c.allowed_providers, c.allowed_models,
            c.max_vectors, c.end_user_cap_nusd, c.tpm_limit, c.day_cap_nusd, c.price_factor_millionths, c.from_plan)
           is distinct from
           (v_version, p.cap, p.devices, p.providers, p.models, p.vectors, p.user_cap, p.tpm, p.day_cap, p.factor,
            array(select n from unnest(p.from_plan) n where v_settings ? n or n = 'monthly_cap_nusd'));
    v_changed := found;
    if v_changed then   -- its cap may have recovered, or be nearly used
        insert into kaixu.cap_check (customer_id, chain_id, month)
        values (p_customer_id, 0, date_trunc('month', now() at time zone 'UTC')::date);
    end if;

    with planned as (
        select k.id,
               case when k.rpm_limit is null or 'rpm_limit' = any (k.from_plan)
                    then (v_settings ->> 'rpm_limit')::integer else k.rpm_limit end as rpm,
               case when k.rpd_limit is null or 'rpd_limit' = any (k.from_plan)
                    then (v_settings ->> 'rpd_limit')::integer else k.rpd_limit end as rpd,
               array_remove(array[
                   case when v_settings ? 'rpm_limit' and (k.rpm_limit is null or 'rpm_limit' = any (k.from_plan))
                        then 'rpm_limit' end,
                   case when v_settings ? 'rpd_limit' and (k.rpd_limit is null or 'rpd_limit' = any (k.from_plan))
                        then 'rpd_limit' end], null) as from_plan
          from kaixu.virtual_key k
         where k.customer_id = p_customer_id
    )
    update kaixu.virtual_key k
       set rpm_limit = p.rpm, rpd_limit = p.rpd, from_plan = p.from_plan
      from planned p
     where k.id = p.id
       and (k.rpm_limit, k.rpd_limit, k.from_plan) is distinct from (p.rpm, p.rpd, p.from_plan);
    return v_changed;
end
$$;
