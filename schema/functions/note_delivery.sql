-- note_delivery: one attempt at a webhook of a receiver has ended; tells once that the receiver fails, and that it works.
--
-- WEBHOOK_FAILING: p_most_failures attempts in a row have failed, or a webhook was given up (p_is_final). WEBHOOK_WORKS:
-- after that, one has arrived. The receiver itself gets neither.
-- A receiver of null is nobody's (jobs without a customer): nothing is told.
-- Lock: the receiver's row of receiver_failure; none where the receiver works.
create or replace function kaixu.note_delivery(
    p_receiver      text,
    p_customer_id   bigint,             -- whose receiver it is; null: the operator's
    p_error         text,               -- null: it has arrived
    p_is_final      boolean,
    p_most_failures integer
) returns void
language plpgsql as $$
declare
    s   kaixu.receiver_failure;
begin
    if p_receiver is null then
        return;
    end if;
    if p_error is null then
        delete from kaixu.receiver_failure f where f.receiver = p_receiver returning f.* into s;
        if s.told_at is not null then
            perform kaixu.raise_alert(
                p_type => 'WEBHOOK_WORKS', p_customer_id => p_customer_id, p_receiver => p_receiver,
                p_body => jsonb_build_object(
                    'receiver', p_receiver,
                    'failed_s', floor(extract(epoch from clock_timestamp() - s.failing_since))::bigint));
        end if;
        return;
    end if;
    insert into kaixu.receiver_failure as f (receiver, customer_id, failures) values (p_receiver, p_customer_id, 1)
    on conflict (receiver) do update set failures = f.failures + 1
    returning f.* into s;
    if s.told_at is null and (p_is_final or s.failures >= p_most_failures) then
        update kaixu.receiver_failure f set told_at = clock_timestamp() where f.receiver = p_receiver;
        perform kaixu.raise_alert(
            p_type => 'WEBHOOK_FAILING', p_customer_id => p_customer_id, p_receiver => p_receiver,
            p_body => jsonb_build_object('receiver', p_receiver, 'failures', s.failures, 'error', p_error,
                                         'is_final', p_is_final));
    end if;
end
$$;
