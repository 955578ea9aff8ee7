-- store_webhook_event: store an event of a vendor and the job that handles it, once for each integration and event id.
--
-- Returns whether this call stored it; false: it was stored before. Jobs for events of one object run in the order in which
-- they were stored, one at a time.
-- Lock: none; a second transaction with the same event waits until the first has ended.
create or replace function kaixu.store_webhook_event(
    p_integration   text,
    p_webhook       text,
    p_event_id      text,
    p_type          text,
    p_object        text,
    p_occurred_at   timestamptz,
    p_job_id        uuid,
    p_kind          text,
    p_request_id    text,
    p_payload       bytea,                                  -- sealed
    p_most_attempts integer
) returns boolean
language plpgsql as $$
begin
    insert into kaixu.webhook_event (integration, event_id, webhook, type, object, occurred_at, job_id)
    values (p_integration, p_event_id, p_webhook, p_type, p_object, p_occurred_at, p_job_id)
    on conflict (integration, event_id) do nothing;
    if not found then
        return false;
    end if;
    insert into kaixu.job (id, kind, request_id, payload, provider, model, most_attempts, run_after, serial, serial_no)
    values (p_job_id, p_kind, p_request_id, p_payload, p_integration, p_kind, p_most_attempts, clock_timestamp(),
            'webhook:' || p_object, case when p_object is not null then nextval('kaixu.job_serial_no') end);
    return true;
end
$$;
