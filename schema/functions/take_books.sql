-- take_books: store what an integration declares: its books, and the prices of its charges by version.
--
-- p_books: [{"name", "title", "has_own_cap", "cap_setting", "default_cap_nusd", "version_setting"}]; p_prices: [{"version",
-- "charge", "book", "kind", "unit", "per", "price_nusd", "price_id"}].
-- Returns null, or the version that customers have used and whose prices are now others: nothing is stored then. Prices of
-- the version 'default' may change; charges already held keep what is held for them.
-- Nothing is removed: customers have used it.
-- Lock: the advisory lock 'kaixu.book'. No customer's row.
create or replace function kaixu.take_books(p_integration text, p_books jsonb, p_prices jsonb)
returns text
language plpgsql as $$
declare
    v_edited    text;
begin
    perform pg_advisory_xact_lock(hashtextextended('kaixu.book', 0));
    select n.version into v_edited
      from jsonb_to_recordset(p_prices) n (version text, charge text, book text, per bigint, price_nusd bigint)
      join kaixu.book_price p
        on p.integration = p_integration and p.version = n.version and p.charge = n.charge
     where n.version <> 'default' and (p.per, p.price_nusd) <> (n.per, n.price_nusd)
       and exists (select from kaixu.book_month m where m.book = p.book and m.version = n.version)
     order by n.version
     limit 1;
    if v_edited is not null then
        return v_edited;
    end if;
    insert into kaixu.book as b
           (name, integration, title, has_own_cap, cap_setting, default_cap_nusd, version_setting)
    select n.name, p_integration, n.title, n.has_own_cap, n.cap_setting, n.default_cap_nusd, n.version_setting
      from jsonb_to_recordset(p_books)
           n (name text, title text, has_own_cap boolean, cap_setting text, default_cap_nusd bigint, version_setting text)
    on conflict (name) do update
       set integration = excluded.integration, title = excluded.title, has_own_cap = excluded.has_own_cap,
           cap_setting = excluded.cap_setting, default_cap_nusd = excluded.default_cap_nusd,
           version_setting = excluded.version_setting
     where (b.integration, b.title, b.has_own_cap, b.cap_setting, b.default_cap_nusd, b.version_setting) is distinct from
           (excluded.integration, excluded.title, excluded.has_own_cap, excluded.cap_setting, excluded.default_cap_nusd,
            excluded.version_setting);
    insert into kaixu.book_price as p (integration, version, charge, book, kind, unit, per, price_nusd, price_id)
    select p_integration, n.version, n.charge, n.book, n.kind, n.unit, n.per, n.price_nusd, n.price_id
      from jsonb_to_recordset(p_prices)
           n (version text, charge text, book text, kind text, unit text, per bigint, price_nusd bigint, price_id bigint)
    on conflict (integration, version, charge) do update
       set book = excluded.book, kind = excluded.kind, unit = excluded.unit, per = excluded.per,
           price_nusd = excluded.price_nusd, price_id = excluded.price_id
     where (p.book, p.kind, p.unit, p.per, p.price_nusd, p.price_id) is distinct from
           (excluded.book, excluded.kind, excluded.unit, excluded.per, excluded.price_nusd, excluded.price_id);
    return null;
end
$$;
