-- take_plans: write the newest version of their plans to customers that have another one, in the order of their ids.
--
-- Returns the last customer that was looked at, and how many were; null: there are none beyond p_after.
-- Lock: takes the customers' rows, ascending by id; p_limit of them, so that calls do not wait for long.
create or replace function kaixu.take_plans(p_after bigint, p_limit integer)
returns table (last_id bigint, customers integer)
language plpgsql
set lock_timeout = '2s'
as $$
declare
    v_ids bigint[];
begin
    select array_agg(w.id order by w.id) into v_ids
      from (select c.id
              from kaixu.customer c
              join (select distinct on (v.name) v.name, v.id, v.settings
                      from kaixu.plan_version v
                     order by v.name, v.id desc) n on n.name = c.plan_name
             where c.id > p_after and c.deleted_at is null and n.settings is not null and c.plan_version_id is distinct from n.id
             order by c.id
             limit p_limit) w;
    perform 1 from kaixu.customer c where c.id = any (v_ids) order by c.id for no key update;
    perform kaixu.take_plan(i) from unnest(v_ids) with ordinality u (i, at) order by u.at;
    return query select v_ids[cardinality(v_ids)], coalesce(cardinality(v_ids), 0);
end
$$;
