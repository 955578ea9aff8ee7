-- change_operator: set an operator's name and role, switch it off or on; or say why not.
--
-- Returns 'changed' | 'last_owner' | 'unknown'. With `p_keep_owner`, the last owner who can log in stays one: two owners
-- who remove each other at the same moment do not both succeed. Switching off ends the operator's sessions; tokens do
-- not work while their operator is off.
-- Lock: the rows of all owners, ascending, so that they change one after the other; then the operator's.
create or replace function kaixu.change_operator(
    p_operator_id   bigint,
    p_name          text,
    p_role          text,
    p_is_disabled   boolean,
    p_keep_owner    boolean,
    p_by            text
) returns text
language plpgsql as $$
begin
    perform 1 from kaixu.operator o where o.role = 'owner' or o.id = p_operator_id order by o.id for update;
    if not exists (select from kaixu.operator o where o.id = p_operator_id) then
        return 'unknown';
    end if;
    if p_keep_owner and (p_is_disabled or p_role <> 'owner')
       and exists (select from kaixu.operator o
                    where o.id = p_operator_id and o.role = 'owner' and o.disabled_at is null)
       and not exists (select from kaixu.operator o
                        where o.id <> p_operator_id and o.role = 'owner' and o.disabled_at is null) then
        return 'last_owner';
    end if;
    update kaixu.operator o
       set name = p_name, role = p_role,
           disabled_at = case when p_is_disabled then coalesce(o.disabled_at, now()) end
     where o.id = p_operator_id;
    if p_is_disabled then
        update kaixu.operator_session s
           set revoked_at = now(), revoked_by = p_by
         where s.operator_id = p_operator_id and s.revoked_at is null;
    end if;
    return 'changed';
end
$$;
