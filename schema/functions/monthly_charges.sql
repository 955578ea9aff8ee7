-- monthly_charges: the monthly charges of a book in a customer's month, with their rows as far as there are any.
--
-- Lock: the caller holds the customer's row.
create or replace function kaixu.monthly_charges(
    p_integration   text,
    p_customer_id   bigint,
    p_book          text,
    p_month         date,
    p_version       text
) returns table (
    ticket      uuid,
    charge      text,
    key         text,
    unit        text,
    price_nusd  bigint,
    price_id    bigint,
    state       text,
    key_id      bigint,
    chain_id    bigint
)
language plpgsql stable as $$
#variable_conflict use_column
begin
    return query
    select t.ticket, p.charge, to_char(p_month, 'YYYY-MM'), p.unit, p.price_nusd, p.price_id, k.state, k.key_id, k.chain_id
      from kaixu.book_price p
     cross join lateral (select kaixu.charge_ticket(
                                    p_integration => p_integration, p_customer_id => p_customer_id, p_charge => p.charge,
                                    p_key => to_char(p_month, 'YYYY-MM')) as ticket) t
      left join kaixu.keyed_charge k on k.ticket = t.ticket
     where p.integration = p_integration and p.version = p_version and p.book = p_book and p.kind = 'month'
     order by p.charge;
end
$$;
