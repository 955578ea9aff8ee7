-- admit: admit_v2 for gateways of the last release, whose calls have no tags.
--
-- A later migration drops it.
-- Lock: as admit_v2.
create or replace function kaixu.admit(
    p_ticket      uuid[],
    p_key_hash    bytea[],
    p_legacy_hash bytea[],
    p_key_id      bigint[],
    p_install_id  text[],
    p_agent       text[],
    p_role_rank   integer[],
    p_operation   text[],
    p_provider    text[],
    p_asked       text[],
    p_model       text[],
    p_book        text[],
    p_price_id    bigint[],
    p_most_nusd   bigint[],
    p_least_nusd  bigint[],
    p_request_id  text[],
    p_owner       uuid,
    p_lifetime_s  integer,
    p_default_rpm integer
) returns table (
    ticket              uuid,
    refused             text,
    scope               text,
    retry_after_s       integer,
    granted_nusd        bigint,
    customer_id         bigint,
    key_id              bigint,
    chain_id            bigint,
    key_last4           text,
    month               date,
    rate_limit          integer,
    rate_remaining      integer,
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
    select x.ticket, x.refused, x.scope, x.retry_after_s, x.granted_nusd, x.customer_id, x.key_id, x.chain_id,
           x.key_last4, x.month, x.rate_limit, x.rate_remaining, x.customer_cap_nusd, x.customer_spent_nusd,
           x.customer_held_nusd, x.key_cap_nusd, x.key_spent_nusd, x.key_held_nusd
      from kaixu.admit_v2(
               p_ticket => p_ticket, p_key_hash => p_key_hash, p_legacy_hash => p_legacy_hash, p_key_id => p_key_id,
               p_install_id => p_install_id, p_agent => p_agent, p_role_rank => p_role_rank, p_operation => p_operation,
               p_provider => p_provider, p_asked => p_asked, p_model => p_model, p_book => p_book, p_price_id =>
               p_price_id, p_most_nusd => p_most_nusd, p_least_nusd => p_least_nusd, p_request_id => p_request_id,
               p_owner => p_owner, p_lifetime_s => p_lifetime_s, p_default_rpm => p_default_rpm, p_app_id => '{}',
               p_build_id => '{}', p_end_user => '{}', p_most_tokens => '{}', p_least_tokens => '{}', p_names => '{}') x;
end
$$;
