-- plan_in_force: the version of a plan that a customer gets, and its settings.
--
-- p_version_id is the version that the customer has. A plan that kaixu.yaml has no longer goes on for the customers that
-- have it: nobody loses a limit because a plan was renamed. No row: the plan's name is only a label.
-- Lock: none.
create or replace function kaixu.plan_in_force(p_name text, p_version_id bigint)
returns table (version_id bigint, settings jsonb)
language sql stable as $$
    select v.id, v.settings
      from (select n.id, n.settings from kaixu.plan_version n where n.name = p_name order by n.id desc limit 1) newest
      join kaixu.plan_version v
        on v.id = case when newest.settings is null then p_version_id else newest.id end
     where v.name = p_name and v.settings is not null
$$;
