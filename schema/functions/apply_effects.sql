-- apply_effects: do what an integration's transaction does for customers besides money, in the order of the requests.
--
-- p_customers: everybody whose row the transaction locks, also for credits and charges that follow.
-- p_effects: [{"kind": "mail" | "settings" | "clear_secret" | "audit", "customer_id", …}], see kaixu/store/customer_effects.py.
-- A message is written once for each key, and mailed where it says so, if the integration has mailed the customer less than
-- p_most_mails times in a day. Settings are only changed if those that they were checked with are still there. A secret is
-- cleared only if it is of the version that is named.
-- Returns a row for the first that is refused, 'UNKNOWN_CUSTOMER', 'KEY_USED', 'TAKEN' (with the field) or 'CHANGED'; the
-- caller then rolls everything back. No row: all was done.
-- Lock: takes the customers' rows, ascending by id.
create or replace function kaixu.apply_effects(
    p_integration   text,
    p_customers     bigint[],
    p_effects       jsonb,
    p_actor         text,
    p_origin        jsonb,
    p_request_id    text,
    p_most_mails    integer
) returns table (refused text, customer_id bigint, field text)
language plpgsql
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
    e           record;
    w           record;
    v_email     text;
    v_stored    jsonb;
    v_names     text[];
    v_other     bigint;
    v_mails     boolean;
    v_action    text;
    v_before    jsonb;
    v_after     jsonb;
    v_meta      jsonb;
begin
    perform 1
       from kaixu.customer x
      where x.id = any (p_customers)
      order by x.id
        for no key update;

    for e in
        select x.*
          from jsonb_to_recordset(p_effects) x (
                   place integer, kind text, customer_id bigint,
                   key text, subject text, paragraphs jsonb, link_text text, link_url text, text text, html text,
                   is_mailed boolean,
                   changes jsonb, seen jsonb, defaults jsonb, "unique" text[],
                   name text, version text)
         order by x.place
    loop
        select c.email into v_email from kaixu.customer c where c.id = e.customer_id and c.deleted_at is null;
        if not found then
            return query select 'UNKNOWN_CUSTOMER', e.customer_id, null::text;
            return;
        end if;
        v_action := null;
        v_before := null;
        v_after := null;

        if e.kind = 'mail' then
            v_mails := e.is_mailed and p_most_mails > (
                select count(*)
                  from kaixu.integration_message m
                 where m.customer_id = e.customer_id and m.integration = p_integration and m.is_mailed
                   and m.created_at > clock_timestamp() - interval '1 day');
            insert into kaixu.integration_message (integration, key, customer_id, subject, paragraphs, link_text, link_url,
                                                   is_mailed)
            values (p_integration, e.key, e.customer_id, e.subject, e.paragraphs, e.link_text, e.link_url, v_mails)
            on conflict (integration, key) do nothing;
            if found then
                if v_mails then
                    perform kaixu.enqueue_mail(
                        p_idempotency_key => 'integration:' || p_integration || ':' || e.key, p_kind => 'integration',
                        p_recipient => v_email, p_subject => e.subject, p_text => e.text, p_html => e.html,
                        p_customer_id => e.customer_id);
                end if;
                v_action := 'INTEGRATION_MESSAGE';
                v_meta := jsonb_build_object('key', e.key, 'subject', e.subject, 'is_mailed', v_mails);
            else
                select m.customer_id into v_other
                  from kaixu.integration_message m
                 where m.integration = p_integration and m.key = e.key;
                if v_other is distinct from e.customer_id then
                    return query select 'KEY_USED', e.customer_id, null::text;
                    return;
                end if;
            end if;

        elsif e.kind = 'settings' then
            select s.settings into v_stored
              from kaixu.integration_setting s
             where s.customer_id = e.customer_id and s.integration = p_integration;
            v_stored := coalesce(v_stored, '{}');
            v_names := array(select jsonb_object_keys(e.changes));
            if v_stored - v_names is distinct from e.seen - v_names then
                return query select 'CHANGED', e.customer_id, null::text;
                return;
            end if;
            if exists (select from jsonb_each(e.changes) x where v_stored -> x.key is distinct from x.value) then
                select x.* into w
                  from kaixu.set_integration_settings(
                           p_customer_id => e.customer_id, p_integration => p_integration, p_changes => e.changes,
                           p_reset => '{}', p_unique => e.unique) x;
                if w.refused is not null then
                    return query select w.refused, e.customer_id, w.field;
                    return;
                end if;
                v_action := 'INTEGRATION_SETTINGS';
                select jsonb_object_agg(n, coalesce(v_stored -> n, e.defaults -> n)) into v_before from unnest(v_names) n;
                v_after := e.changes;
                v_meta := '{}';
            end if;

        elsif e.kind = 'audit' then
            v_action := e.name;
            v_before := nullif(e.seen, 'null');
            v_after := nullif(e.changes, 'null');
            v_meta := case when e.key is null then '{}' else jsonb_build_object('target', e.key) end;

        else
            delete from kaixu.integration_secret s
             where s.customer_id = e.customer_id and s.integration = p_integration and s.name = e.name
               and (e.version is null or kaixu.secret_version(p_sealed => s.sealed) = e.version);
            if found then
                v_action := 'SECRET_CLEAR';
                v_meta := jsonb_build_object('name', e.name);
            end if;
        end if;

        if v_action is not null then
            insert into kaixu.audit_event (actor, action, target, request_id, before, after, meta, address, operator_id,
                                           session_id, token_id)
            values (p_actor, v_action, 'customer:' || e.customer_id, p_request_id, v_before, v_after,
                    jsonb_build_object('integration', p_integration) || v_meta, p_origin ->> 'address',
                    (p_origin ->> 'operator_id')::bigint, (p_origin ->> 'session_id')::bigint,
                    (p_origin ->> 'token_id')::bigint);
        end if;
    end loop;
end
$$;
