-- kaixu__plugin.credit: book the credits that the gateway has noted under p_note for this call; see apply_credits.
--
-- Called by an integration's own role, last in its transaction: they are booked when that commits. The gateway has written
-- whose they are and what is credited, after it has checked that the integration may; the caller can only book them or
-- not, and only those of its own integration. Runs as the gateway's user.
-- Lock: the note's row, then the customers' rows, ascending by id, until the transaction ends.
create or replace function kaixu__plugin.credit(p_note uuid)
returns table (customer_id bigint, refused text, applied boolean, month date, extra_nusd bigint)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    n   kaixu.plugin_credit;
begin
    delete from kaixu.plugin_credit p
     where p.id = p_note
       and p.made_at between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute'
       and exists (select from kaixu.plugin_role o where o.role = session_user and o.integration = p.integration)
    returning p.* into n;
    if not found then
        raise exception 'there are no credits to be booked' using errcode = 'insufficient_privilege';
    end if;
    return query
    select a.customer_id, a.refused, a.applied, a.month, a.extra_nusd
      from kaixu.apply_credits(
               p_integration => n.integration, p_caller => n.caller, p_customer_id => n.customers,
               p_amount_nusd => n.amounts_nusd, p_key => n.keys, p_month => n.months, p_source => n.sources,
               p_reference => n.references_, p_most_nusd => n.most_nusd, p_request_id => n.request_id) a;
end
$$;
revoke all on function kaixu__plugin.credit(uuid) from public;
