-- kaixu__plugin.migrated: record that a file of an integration's schema was applied, in the same transaction.
--
-- Called by an integration's own role, for its own integration only. Runs as the gateway's user.
create or replace function kaixu__plugin.migrated(p_name text, p_sha256 text)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into kaixu.migration (owner, name, sha256)
    select 'plugin:' || o.integration, left(p_name, 200), left(p_sha256, 64)
      from kaixu.plugin_role o
     where o.role = session_user;
    if not found then
        raise exception 'this role belongs to no integration' using errcode = 'insufficient_privilege';
    end if;
end
$$;
revoke all on function kaixu__plugin.migrated(text, text) from public;
