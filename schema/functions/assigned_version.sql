-- assigned_version: the version of the price list that a customer's setting names for a book; 'default' where it names none.
--
-- Lock: none.
create or replace function kaixu.assigned_version(p_customer_id bigint, p_book text)
returns text
language sql stable as $$
    select coalesce((
        select p.version
          from kaixu.book b
          join kaixu.integration_setting s on s.customer_id = p_customer_id and s.integration = b.integration
          join kaixu.book_price p on p.integration = b.integration and p.version = s.settings ->> b.version_setting
         where b.name = p_book
         limit 1), 'default')
$$;
