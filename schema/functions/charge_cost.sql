-- charge_cost: what a number of units costs, rounded once, half up; as kaixu/metering/charges.py.
create or replace function kaixu.charge_cost(p_units bigint, p_price_nusd bigint, p_per bigint)
returns bigint
language sql immutable as $$
    select div(2 * p_units::numeric * p_price_nusd + p_per, 2 * p_per)::bigint
$$;
