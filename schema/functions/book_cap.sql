-- book_cap: a customer's monthly cap of a book with a cap of its own, in nano-dollars; null: none.
--
-- The customer's setting, in USD, else the default. A setting of null means no cap, 0 refuses; what is no number refuses,
-- too.
-- Lock: none; who decides by it holds the customer's row, under which settings change.
create or replace function kaixu.book_cap(p_customer_id bigint, p_book text)
returns bigint
language sql stable as $$
    select case
               when s.value is null then b.default_cap_nusd
               when jsonb_typeof(s.value) = 'null' then null
               when s.value #>> '{}' ~ '^[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?$'
                   then least(round((s.value #>> '{}')::numeric * 1000000000), 1000000000000000000)::bigint
               else 0
           end
      from kaixu.book b
      left join lateral (
           select x.settings -> b.cap_setting as value
             from kaixu.integration_setting x
            where x.customer_id = p_customer_id and x.integration = b.integration) s on true
     where b.name = p_book
$$;
