-- claim_reembedding: claim one collection that is being re-embedded, for the length of a lease.
--
-- A time in the future was written before the clock was set back: the lease begins anew now.
-- Returns no row where there is nothing to do. Lock: the work's own row, skipping locked ones.
create or replace function kaixu.claim_reembedding(p_lease_s integer)
returns table (
    id              bigint,
    customer_id     bigint,
    key_id          bigint,
    install_id      text,
    collection_id   bigint,
    copy_id         bigint,
    request_id      text,
    attempts        integer
)
language plpgsql as $$
#variable_conflict use_column
begin
    update kaixu.reembedding e
       set leased_until = clock_timestamp() + (e.leased_until - e.updated_at), updated_at = clock_timestamp()
     where e.id in (select x.id from kaixu.reembedding x
                     where x.state = 'running' and x.leased_until > clock_timestamp()
                       and x.updated_at > clock_timestamp() + interval '5 seconds'
                       for update skip locked);
    return query
    update kaixu.reembedding e
       set leased_until = clock_timestamp() + make_interval(secs => p_lease_s), updated_at = clock_timestamp()
     where e.id = (select x.id from kaixu.reembedding x
                    where x.state = 'running' and x.leased_until < clock_timestamp()
                    order by x.leased_until, x.id
                    limit 1
                      for update skip locked)
    returning e.id, e.customer_id, e.key_id, e.install_id, e.collection_id, e.copy_id, e.request_id, e.attempts;
end
$$;
