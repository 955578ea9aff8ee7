-- kaixu__plugin.apply_charges: do what the gateway has noted under p_note for this call, once; see apply_charges.
--
-- Called by an integration's own role, last in its transaction: what is held and billed is committed with the plugin's
-- rows, or neither. The gateway has written the customer, the key and the charges; the caller can only have them done or
-- not, and only those of its own integration. Runs as the gateway's user.
-- Lock: the note's row, then the customer's.
create or replace function kaixu__plugin.apply_charges(p_note uuid)
returns table (
    refused     text,
    charge      text,
    units       bigint,
    asked_nusd  bigint,
    book        text,
    month       date,
    cap_nusd    bigint,
    spent_nusd  bigint,
    held_nusd   bigint
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    n   kaixu.charge_note;
begin
    delete from kaixu.charge_note p
     where p.id = p_note
       and p.made_at between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute'
       and exists (select from kaixu.plugin_role o where o.role = session_user and o.integration = p.integration)
    returning p.* into n;
    if not found then
        raise exception 'there is nothing to be held or charged' using errcode = 'insufficient_privilege';
    end if;
    return query
    select x.refused, x.charge, x.units, x.asked_nusd, x.book, x.month, x.cap_nusd, x.spent_nusd, x.held_nusd
      from kaixu.apply_charges(
               p_integration => n.integration, p_customer_id => n.customer_id, p_key_id => n.key_id,
               p_install_id => n.install_id, p_app_id => n.app_id, p_build_id => n.build_id,
               p_request_id => n.request_id, p_effects => n.effects) x;
end
$$;
revoke all on function kaixu__plugin.apply_charges(uuid) from public;
