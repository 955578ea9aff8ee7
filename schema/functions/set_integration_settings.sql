-- set_integration_settings: write some of a customer's settings of an integration, or say why not.
--
-- p_changes replaces the values that it has, p_reset removes values; all others stay, also those that the present
-- release does not know. No other customer may have the same value, other than null, false, 0 and '', in the fields
-- p_unique.
-- Returns refused ('UNKNOWN_CUSTOMER' | 'TAKEN', else null), the field that is taken, and the settings afterwards.
-- Lock: takes the customer's row, then an advisory lock for each unique value in order, so that of two customers that are
-- given one value at once the second one sees the first.
create or replace function kaixu.set_integration_settings(
    p_customer_id   bigint,
    p_integration   text,
    p_changes       jsonb,
    p_reset         text[],
    p_unique        text[]
) returns table (refused text, field text, settings jsonb)
language plpgsql as $$
declare
    v_lock  bigint;
begin
    perform from kaixu.customer c where c.id = p_customer_id and c.deleted_at is null for no key update;
    if not found then
        return query select 'UNKNOWN_CUSTOMER', null::text, null::jsonb;
        return;
    end if;

    for v_lock in
        select hashtextextended(concat_ws(chr(31), 'kaixu.integration_setting', p_integration, e.key, e.value), 0) as id
          from jsonb_each(p_changes) e
         where e.key = any (p_unique)
         order by id
    loop
        perform pg_advisory_xact_lock(v_lock);
    end loop;

    return query
    select 'TAKEN', e.key, null::jsonb
      from jsonb_each(p_changes) e
     where e.key = any (p_unique)
       and e.value not in ('null', 'false', '0', '""')
       and exists (select
                     from kaixu.integration_setting s
                     join kaixu.customer c on c.id = s.customer_id and c.deleted_at is null
                    where s.integration = p_integration and s.customer_id <> p_customer_id
                      and s.settings @> jsonb_build_object(e.key, e.value))
     order by e.key
     limit 1;
    if found then
        return;
    end if;

    return query
    insert into kaixu.integration_setting as s (customer_id, integration, settings)
    values (p_customer_id, p_integration, p_changes)
    on conflict (customer_id, integration) do update
       set settings = (s.settings - p_reset) || excluded.settings, updated_at = clock_timestamp()
    returning null::text, null::text, s.settings;
    -- The cap of a book may have changed: its alerts are looked at.
    insert into kaixu.cap_check (customer_id, chain_id, month)
    select p_customer_id, 0, date_trunc('month', now() at time zone 'UTC')::date
     where exists (select from kaixu.book b
                    where b.integration = p_integration and (p_changes ? b.cap_setting or b.cap_setting = any (p_reset)));
    perform kaixu.watch_settings(p_customer_id => p_customer_id, p_integration => p_integration);
    if exists (select
                 from kaixu.book b
                where b.integration = p_integration
                  and (p_changes ? b.cap_setting or b.cap_setting = any (p_reset))) then
        -- Jobs that wait for room in the book are tried again.
        insert into kaixu.cap_check (customer_id, chain_id, month)
        values (p_customer_id, 0, date_trunc('month', clock_timestamp() at time zone 'UTC'));
    end if;
end;
$$;
