-- reserve_again: reserve_again_v2 for gateways of the last release, whose calls have no tags.
--
-- A later migration drops it.
-- Lock: as reserve_again_v2.
create or replace function kaixu.reserve_again(
    p_ticket      uuid[],
    p_customer_id bigint[],
    p_key_id      bigint[],
    p_chain_id    bigint[],
    p_month       date[],
    p_book        text[],
    p_held_nusd   bigint[],
    p_operation   text[],
    p_provider    text[],
    p_model       text[],
    p_price_id    bigint[],
    p_install_id  text[],
    p_request_id  text[],
    p_owner       uuid,
    p_lifetime_s  integer
) returns integer
language plpgsql as $$
begin
    return kaixu.reserve_again_v2(
        p_ticket => p_ticket, p_customer_id => p_customer_id, p_key_id => p_key_id, p_chain_id => p_chain_id,
        p_month => p_month, p_book => p_book, p_held_nusd => p_held_nusd, p_operation => p_operation, p_provider
        => p_provider, p_model => p_model, p_price_id => p_price_id, p_install_id => p_install_id, p_request_id
        => p_request_id, p_owner => p_owner, p_lifetime_s => p_lifetime_s, p_app_id => '{}', p_build_id => '{}',
        p_end_user => '{}', p_admitted_at => '{}', p_most_tokens => '{}');
end
$$;
