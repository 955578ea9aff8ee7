-- What an integration's vendor charges for an operation is not known: its events say so, and margins leave them out.
--
-- New columns with constant defaults: no table is rewritten, and gateways of the last release, which do not know the
-- columns, go on reading and writing. Events that are there already stay as they are: their cost counts as known.
alter table kaixu.usage_event add column vendor_cost_known boolean not null default true;

-- Of `spent_nusd`, what was billed for calls whose vendor cost is not known.
alter table kaixu.customer_month add column uncosted_nusd bigint not null default 0;
alter table kaixu.key_month add column uncosted_nusd bigint not null default 0;

-- 'plugin': the units that the bill counts were counted by an integration's own code.
-- Not validated: every row that is there passed the narrower check, and validating would read all of them under a lock.
alter table kaixu.usage_event drop constraint usage_event_usage_source_check;
alter table kaixu.usage_event add constraint usage_event_usage_source_check
    check (usage_source in ('provider', 'counted', 'estimated', 'plugin')) not valid;
