-- kaixu__plugin.apply_effects: do what the gateway has noted under p_note for this call, once; see apply_effects.
--
-- Called by an integration's own role, at the end of its transaction, before credits and charges: what is done is committed
-- with the plugin's rows, or neither. The gateway has written whom it concerns and what is done, after it has checked that
-- the integration may. Runs as the gateway's user.
-- Lock: the note's row, then the customers' rows, ascending by id, until the transaction ends.
create or replace function kaixu__plugin.apply_effects(p_note uuid)
returns table (refused text, customer_id bigint, field text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    n   kaixu.plugin_effect;
begin
    delete from kaixu.plugin_effect p
     where p.id = p_note
       and p.made_at between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute'
       and exists (select from kaixu.plugin_role o where o.role = session_user and o.integration = p.integration)
    returning p.* into n;
    if not found then
        raise exception 'there is nothing to be done for customers' using errcode = 'insufficient_privilege';
    end if;
    return query
    select x.refused, x.customer_id, x.field
      from kaixu.apply_effects(
               p_integration => n.integration, p_customers => n.customers, p_effects => n.effects, p_actor => n.actor,
               p_origin => n.origin, p_request_id => n.request_id, p_most_mails => n.most_mails) x;
end
$$;
revoke all on function kaixu__plugin.apply_effects(uuid) from public;
