-- begin_deletion: make a customer anonymous and refuse its calls, or say why it cannot be deleted now.
--
-- refused: 'CALLS_IN_FLIGHT', 'JOBS_WAITING', 'UNKNOWN_CUSTOMER', or null; `waiting` says how many calls or jobs. A
-- customer that is deleted already is not refused: `began` is false. What belongs to the customer is removed afterwards, in
-- small steps. The row stays, for invoices and sums name its id. Keys stay as rows without anything that a key can be known
-- by: usage events name their ids.
-- Jobs that integrations have submitted for the customer without a key are not waited for.
-- Lock: the customer's row, so that no call is admitted meanwhile, and none after it: its keys are revoked.
create or replace function kaixu.begin_deletion(p_customer_id bigint, p_actor text)
returns table (refused text, waiting bigint, began boolean)
language plpgsql as $$
declare
    v_deleted_at timestamptz;
begin
    began := false;
    waiting := 0;
    select c.deleted_at into v_deleted_at from kaixu.customer c where c.id = p_customer_id for no key update;
    if not found then
        refused := 'UNKNOWN_CUSTOMER';
    elsif v_deleted_at is null then
        select count(*) into waiting from kaixu.reservation r where r.customer_id = p_customer_id;
        if waiting > 0 then
            refused := 'CALLS_IN_FLIGHT';
        else
            select (select count(*) from kaixu.job j
                     where j.customer_id = p_customer_id and j.key_id is not null and j.completed_at is null)
                 + (select count(*) from kaixu.reembedding e where e.customer_id = p_customer_id and e.state = 'running')
              into waiting;
            if waiting > 0 then
                refused := 'JOBS_WAITING';
            end if;
        end if;
    end if;
    if refused is not null or v_deleted_at is not null then
        return next;
        return;
    end if;

    -- What is held for later is not in flight: it is given back.
    perform kaixu.free_charge(p_ticket => k.ticket, p_state => 'released')
       from kaixu.keyed_charge k
      where k.customer_id = p_customer_id and k.state = 'held';

    update kaixu.virtual_key k
       set key_hash = convert_to('deleted:' || k.id, 'UTF8'), key_last4 = '', label = 'deleted', monthly_cap_nusd = null,
           allowed_providers = null, allowed_models = null, allowed_collections = null, from_plan = '{}',
           limits = null, group_id = null, tpm_limit = null, day_cap_nusd = null, expires_at = null, alert_thresholds = null,
           revoked_at = coalesce(k.revoked_at, now())
     where k.customer_id = p_customer_id;
    update kaixu.customer c
       -- Nobody can have taken this address before.
       set email = 'deleted-' || c.id || '-' || gen_random_uuid() || '@deleted.invalid', plan_name = 'deleted', is_active = false, deleted_at = now(),
           allowed_providers = null, allowed_models = null, plan_version_id = null, from_plan = '{}',
           stripe_customer_id = null, stripe_subscription_id = null, stripe_current_period_end = null,
           auto_topup_enabled = false, tpm_limit = null, day_cap_nusd = null, alert_thresholds = null, alert_mail = null
     where c.id = p_customer_id;
    perform kaixu.react(p_event => 'customer_deleted', p_customer_id => p_customer_id, p_body => '{}');
    insert into kaixu.customer_deletion (customer_id, actor) values (p_customer_id, p_actor)
    on conflict (customer_id) do nothing;
    began := true;
    return next;
end
$$;
