-- watch_settings: take over a customer's threshold from its settings of an integration, and compare its balance at once.
--
-- A threshold that is the same as before stays crossed if it was.
-- Lock: the caller holds the customer's row.
create or replace function kaixu.watch_settings(p_customer_id bigint, p_integration text)
returns void
language plpgsql as $$
declare
    v_reaction  kaixu.reaction;
    v_threshold bigint;
begin
    select x.* into v_reaction
      from kaixu.reaction x where x.integration = p_integration and x.event = 'balance_below';
    if v_reaction.integration is not null then
        v_threshold := kaixu.threshold_of(
            v_reaction,
            coalesce((select s.settings from kaixu.integration_setting s
                       where s.customer_id = p_customer_id and s.integration = p_integration), '{}'));
    end if;
    if v_threshold is null then
        delete from kaixu.balance_watch w where w.customer_id = p_customer_id and w.integration = p_integration;
    else
        insert into kaixu.balance_watch as w (customer_id, integration, threshold_nusd, month, is_armed)
        values (p_customer_id, p_integration, v_threshold,
                date_trunc('month', clock_timestamp() at time zone 'UTC'), true)
        on conflict (customer_id, integration) do update
           set threshold_nusd = excluded.threshold_nusd, is_armed = true, rearm_at = null
         where w.threshold_nusd <> excluded.threshold_nusd;
    end if;
    update kaixu.customer c
       set is_watched = not c.is_watched
     where c.id = p_customer_id
       and c.is_watched <> exists (select from kaixu.balance_watch w where w.customer_id = p_customer_id);
    if v_threshold is not null then
        perform kaixu.watch_balances(p_customer_id => array[p_customer_id]);
    end if;
end
$$;
