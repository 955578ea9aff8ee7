-- settle: settle_v2 for gateways of the last release, whose calls have no tags.
--
-- So they write roll-ups, too. A later migration drops it.
-- Lock: as settle_v2.
create or replace function kaixu.settle(
    p_ticket              uuid[],
    p_customer_id         bigint[],
    p_key_id              bigint[],
    p_chain_id            bigint[],
    p_month               date[],
    p_book                text[],
    p_operation           text[],
    p_provider            text[],
    p_model               text[],
    p_price_id            bigint[],
    p_install_id          text[],
    p_request_id          text[],
    p_admitted_at         timestamptz[],
    p_duration_ms         integer[],
    p_end_reason          text[],
    p_usage_source        text[],
    p_cost_nusd           bigint[],
    p_vendor_cost_nusd    bigint[],
    p_input_tokens        bigint[],
    p_output_tokens       bigint[],
    p_cached_input_tokens bigint[],
    p_cache_write_tokens  bigint[],
    p_reasoning_tokens    bigint[],
    p_units               jsonb[]
) returns table (
    ticket              uuid,
    first_time          boolean,
    month               date,
    customer_cap_nusd   bigint,
    customer_spent_nusd bigint,
    customer_held_nusd  bigint,
    key_cap_nusd        bigint,
    key_spent_nusd      bigint,
    key_held_nusd       bigint
)
language plpgsql as $$
#variable_conflict use_column
begin
    return query
    select x.ticket, x.first_time, x.month, x.customer_cap_nusd, x.customer_spent_nusd, x.customer_held_nusd,
           x.key_cap_nusd, x.key_spent_nusd, x.key_held_nusd
      from kaixu.settle_v2(
               p_ticket => p_ticket, p_customer_id => p_customer_id, p_key_id => p_key_id, p_chain_id => p_chain_id,
               p_month => p_month, p_book => p_book, p_operation => p_operation, p_provider => p_provider, p_model =>
               p_model, p_price_id => p_price_id, p_install_id => p_install_id, p_request_id => p_request_id,
               p_admitted_at => p_admitted_at, p_duration_ms => p_duration_ms, p_end_reason => p_end_reason,
               p_usage_source => p_usage_source, p_cost_nusd => p_cost_nusd, p_vendor_cost_nusd => p_vendor_cost_nusd,
               p_input_tokens => p_input_tokens, p_output_tokens => p_output_tokens, p_cached_input_tokens =>
               p_cached_input_tokens, p_cache_write_tokens => p_cache_write_tokens, p_reasoning_tokens =>
               p_reasoning_tokens, p_units => p_units, p_app_id => '{}', p_build_id => '{}', p_end_user => '{}') x;
end
$$;
