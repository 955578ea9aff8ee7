-- react: write the jobs of the integrations that react to an event of a customer, in the caller's transaction.
--
-- p_integration: only this one's; null: all that are on and have such a reaction. The caller decides that the event happens
-- once, under a lock of its own. The job has no key and an empty payload; what it is about is its row of crossing.
-- Returns how many jobs were written.
-- Lock: none.
create or replace function kaixu.react(
    p_event         text,
    p_customer_id   bigint,
    p_body          jsonb,
    p_integration   text default null
) returns integer
language plpgsql as $$
declare
    r           record;
    v_id        uuid;
    v_count     integer := 0;
begin
    for r in
        select x.integration, x.kind, x.most_attempts
          from kaixu.reaction x
         where x.event = p_event and (p_integration is null or x.integration = p_integration)
    loop
        v_id := gen_random_uuid();
        insert into kaixu.crossing (id, customer_id, integration, event, body)
        values (v_id, p_customer_id, r.integration, p_event, p_body);
        insert into kaixu.job (id, kind, customer_id, request_id, payload, provider, model, most_attempts, run_after)
        values (v_id, r.kind, p_customer_id, 'reaction-' || v_id, '', r.integration, r.kind, r.most_attempts,
                clock_timestamp());
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
