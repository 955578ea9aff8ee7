-- kaixu__plugin.receive: store the event that the gateway has noted under p_job for this call, once; see store_webhook_event.
--
-- Called by an integration's own role, in its transaction: the event and its job exist when that commits. Returns whether
-- it was new. Runs as the gateway's user.
-- Lock: only the note's row.
create or replace function kaixu__plugin.receive(p_job uuid)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    r       kaixu.plugin_job;
begin
    delete from kaixu.plugin_job p
     where p.id = p_job and p.event_id is not null
       and p.made_at between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute'
       and exists (select from kaixu.plugin_role o where o.role = session_user and o.integration = p.integration)
    returning p.* into r;
    if not found then
        raise exception 'there is no event to be handed in' using errcode = 'insufficient_privilege';
    end if;
    return kaixu.store_webhook_event(
        p_integration => r.integration, p_webhook => r.event_webhook, p_event_id => r.event_id, p_type => r.event_type,
        p_object => r.event_object, p_occurred_at => r.occurred_at, p_job_id => r.id, p_kind => r.kind,
        p_request_id => r.request_id, p_payload => r.payload, p_most_attempts => r.most_attempts);
end
$$;
revoke all on function kaixu__plugin.receive(uuid) from public;
