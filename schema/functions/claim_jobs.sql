-- claim_jobs: claim_jobs_v2 for gateways of the last release, whose jobs have no tags.
--
-- A later migration drops it.
-- Lock: as claim_jobs_v2.
create or replace function kaixu.claim_jobs(
    p_owner         uuid,
    p_kinds         text[],
    p_lease_s       double precision,
    p_most          integer,
    p_most_losses   integer
) returns table (
    id              uuid,
    claim           uuid,
    kind            text,
    customer_id     bigint,
    key_id          bigint,
    install_id      text,
    request_id      text,
    payload         bytea,
    attempts        integer,
    most_attempts   integer,
    old_ticket      uuid,
    batch_id        uuid,
    created_at      timestamptz
)
language plpgsql as $$
#variable_conflict use_column
begin
    return query
    select x.id, x.claim, x.kind, x.customer_id, x.key_id, x.install_id, x.request_id, x.payload, x.attempts,
           x.most_attempts, x.old_ticket, x.batch_id, x.created_at
      from kaixu.claim_jobs_v2(
               p_owner => p_owner, p_kinds => p_kinds, p_lease_s => p_lease_s, p_most => p_most, p_most_losses =>
               p_most_losses) x;
end
$$;
