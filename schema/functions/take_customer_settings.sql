-- take_customer_settings: move values of the customers' own columns into their settings of an integration.
--
-- p_fields: which of 'stripe_customer_id', 'auto_topup_enabled', 'auto_topup_threshold_cents' and
-- 'auto_topup_amount_cents' the integration declares. A value of a column is newer than that of the setting: once it has
-- been moved, the column is empty until somebody writes it while the integration is off.
-- Returns for how many customers there was one.
-- Lock: takes the rows of these customers in ascending order.
create or replace function kaixu.take_customer_settings(p_integration text, p_fields text[]) returns bigint
language sql as $$
    with given as (
        select c.id,
               jsonb_strip_nulls(jsonb_build_object(
                   'stripe_customer_id',
                   case when 'stripe_customer_id' = any (p_fields) then c.stripe_customer_id end,
                   'auto_topup_enabled',
                   case when 'auto_topup_enabled' = any (p_fields) and c.auto_topup_enabled then true end,
                   'auto_topup_threshold_cents',
                   case when 'auto_topup_threshold_cents' = any (p_fields)
                        then c.auto_topup_threshold_nusd / 10000000 end,
                   'auto_topup_amount_cents',
                   case when 'auto_topup_amount_cents' = any (p_fields)
                        then c.auto_topup_amount_nusd / 10000000 end)) as settings
          from kaixu.customer c
         where c.deleted_at is null
           and (c.stripe_customer_id is not null or c.auto_topup_enabled or c.auto_topup_threshold_nusd is not null
                or c.auto_topup_amount_nusd is not null)
         order by c.id
           for no key update
    ), written as (
        insert into kaixu.integration_setting as s (customer_id, integration, settings)
        select g.id, p_integration, g.settings from given g where g.settings <> '{}'
        on conflict (customer_id, integration) do update
           set settings = s.settings || excluded.settings, updated_at = clock_timestamp()
    ), emptied as (
        update kaixu.customer c
           set stripe_customer_id = case when g.settings ? 'stripe_customer_id' then null else c.stripe_customer_id end,
               auto_topup_enabled = c.auto_topup_enabled and not g.settings ? 'auto_topup_enabled',
               auto_topup_threshold_nusd = case when g.settings ? 'auto_topup_threshold_cents' then null
                                                else c.auto_topup_threshold_nusd end,
               auto_topup_amount_nusd = case when g.settings ? 'auto_topup_amount_cents' then null
                                             else c.auto_topup_amount_nusd end
          from given g
         where c.id = g.id and g.settings <> '{}'
        returning c.id
    )
    select count(*) from emptied;
$$;
