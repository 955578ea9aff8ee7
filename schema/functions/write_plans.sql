-- write_plans: store the plans of kaixu.yaml; those that changed get a new version.
--
-- p_plans: settings by name. A plan that is not in it any more gets a version without settings. Returns the names that
-- changed.
-- Lock: one writer at a time, so that gateways that start together write each version once.
create or replace function kaixu.write_plans(p_plans jsonb) returns setof text
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('kaixu.plan_version', 0));
    return query
    with current as (
        select distinct on (v.name) v.name, v.settings from kaixu.plan_version v order by v.name, v.id desc
    ), wanted as (
        select p.key as name, p.value as settings from jsonb_each(p_plans) p
    ), changed as (
        insert into kaixu.plan_version (name, settings)
        select coalesce(w.name, c.name), w.settings
          from wanted w
          full join current c on c.name = w.name
         where w.settings is distinct from c.settings
         order by 1
        returning name
    )
    select c.name from changed c;
end
$$;
