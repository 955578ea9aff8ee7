-- apply_credits: book all credits of an integration's transaction, customers ascending, each with its line in the audit log.
--
-- Parallel arrays, one element a credit. p_caller: the call's own customer, whose row is locked in its place, too, because
-- more may follow for it in the same transaction.
-- Returns a row a credit, as credit does; one that is refused has written nothing, and its transaction is to be rolled back.
-- Lock: takes the customers' rows, ascending by id.
create or replace function kaixu.apply_credits(
    p_integration   text,
    p_caller        bigint,
    p_customer_id   bigint[],
    p_amount_nusd   bigint[],
    p_key           text[],
    p_month         date[],
    p_source        text[],
    p_reference     text[],
    p_most_nusd     bigint,
    p_request_id    text
) returns table (customer_id bigint, refused text, applied boolean, month date, extra_nusd bigint)
language plpgsql
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
    a   record;
    c   record;
begin
    perform 1
       from kaixu.customer x
      where x.id = any (p_customer_id || p_caller)
      order by x.id
        for no key update;

    for a in
        select u.*
          from unnest(p_customer_id, p_amount_nusd, p_key, p_month, p_source, p_reference) with ordinality
               u (customer_id, amount_nusd, key, month, source, reference, at)
         order by u.customer_id, u.at
    loop
        select x.* into c
          from kaixu.credit(
                   p_idempotency_key => 'integration:' || p_integration || ':' || a.key, p_customer_id => a.customer_id,
                   p_month => a.month, p_amount_nusd => a.amount_nusd, p_source => a.source, p_most_nusd => p_most_nusd,
                   p_exact => false, p_integration => p_integration, p_reference => a.reference) x;
        customer_id := a.customer_id;
        refused := c.refused; applied := c.applied; month := c.month; extra_nusd := c.extra_nusd;
        if c.applied then
            insert into kaixu.audit_event (actor, action, target, request_id, before, after, meta)
            values ('integration:' || p_integration, 'TOPUP_' || upper(a.source), 'customer:' || a.customer_id, p_request_id,
                    jsonb_build_object('month', to_char(c.month, 'YYYY-MM-DD'), 'extra_nusd', c.extra_nusd - a.amount_nusd),
                    jsonb_build_object('month', to_char(c.month, 'YYYY-MM-DD'), 'extra_nusd', c.extra_nusd),
                    jsonb_strip_nulls(jsonb_build_object(
                        'amount_nusd', a.amount_nusd, 'idempotency_key', a.key, 'reference', a.reference,
                        'named_month', to_char(nullif(a.month, c.month), 'YYYY-MM'))));
        end if;
        return next;
    end loop;
end
$$;
