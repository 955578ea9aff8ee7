-- price_version: the id of a price; a price that is new is stored as a new version.
create or replace function kaixu.price_version(p_provider text, p_model text, p_rates jsonb, p_vendor jsonb)
returns bigint
language plpgsql as $$
declare
    v_id bigint;
begin
    insert into kaixu.price (provider, model, rates, vendor)
    values (p_provider, p_model, p_rates, p_vendor)
    on conflict (provider, model, rates, coalesce(vendor, 'null'::jsonb)) do nothing
    returning id into v_id;
    if v_id is null then
        select p.id into v_id
          from kaixu.price p
         where p.provider = p_provider and p.model = p_model and p.rates = p_rates
           and coalesce(p.vendor, 'null'::jsonb) = coalesce(p_vendor, 'null'::jsonb);
    end if;
    return v_id;
end
$$;
