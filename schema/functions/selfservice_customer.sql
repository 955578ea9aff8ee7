-- selfservice_customer: the customer whom an address means; no row: nobody.
--
-- `p_spellings` are ways to store the same address, the best first. Who has none of them may still have a self-service
-- account of the same mailbox: its own address is then where a link goes, never the one that was requested.
-- Lock: the caller holds the advisory lock 'kaixu.key_request' (see request_key).
create or replace function kaixu.selfservice_customer(
    p_spellings     text[],
    p_mailbox       text            -- null: only the address itself
) returns table (customer_id bigint, email text, is_active boolean, chain_id bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_exact     bigint;
    v_account   bigint;
begin
    select c.id into v_exact
      from kaixu.customer c
     where lower(c.email) = any (p_spellings)
     order by array_position(p_spellings, lower(c.email)), c.id
     limit 1;
    select a.customer_id into v_account
      from kaixu.selfservice_account a
      join kaixu.customer c on c.id = a.customer_id
     where a.mailbox = p_mailbox and lower(c.email) = a.address    -- else an operator has changed the address
     order by a.created_at, a.customer_id
     limit 1;
    return query
    select c.id, c.email, c.is_active, a.chain_id
      from kaixu.customer c
      left join kaixu.selfservice_account a on a.customer_id = c.id
     where c.id = coalesce(v_exact, v_account);
end
$$;
