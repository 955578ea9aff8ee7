-- Fields of payments are settings of the integration `stripe` (docs/decisions/0053). Nothing reads the columns any more,
-- but gateways of the last release may still write them while they are replaced: `take_customer_settings` moves that, too.
-- A later migration drops them.

with given as (
    select c.id,
           jsonb_strip_nulls(jsonb_build_object(
               'stripe_customer_id', c.stripe_customer_id,
               'stripe_subscription_id', c.stripe_subscription_id,
               'stripe_current_period_end',
               to_char(c.stripe_current_period_end at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
               'auto_topup_enabled', case when c.auto_topup_enabled then true end,
               'auto_topup_threshold_cents', c.auto_topup_threshold_nusd / 10000000,
               'auto_topup_amount_cents', c.auto_topup_amount_nusd / 10000000)) as settings
      from kaixu.customer c
     where c.deleted_at is null
)
insert into kaixu.integration_setting as s (customer_id, integration, settings)
select g.id, 'stripe', g.settings from given g where g.settings <> '{}'
on conflict (customer_id, integration) do update
   set settings = s.settings || excluded.settings, updated_at = clock_timestamp();

update kaixu.customer
   set stripe_customer_id = null, stripe_subscription_id = null, stripe_current_period_end = null,
       auto_topup_enabled = false, auto_topup_threshold_nusd = null, auto_topup_amount_nusd = null
 where stripe_customer_id is not null or stripe_subscription_id is not null or stripe_current_period_end is not null
    or auto_topup_enabled or auto_topup_threshold_nusd is not null or auto_topup_amount_nusd is not null;

comment on column kaixu.customer.stripe_customer_id is 'not used: a setting of an integration; goes with the next release';
comment on column kaixu.customer.stripe_subscription_id is 'not used: goes with the next release';
comment on column kaixu.customer.stripe_current_period_end is 'not used: goes with the next release';
comment on column kaixu.customer.auto_topup_enabled is 'not used: a setting of an integration; goes with the next release';
comment on column kaixu.customer.auto_topup_threshold_nusd is 'not used: as above';
comment on column kaixu.customer.auto_topup_amount_nusd is 'not used: as above';
